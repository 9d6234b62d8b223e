//! A line on the terminal that says how far something is, while it takes long.
//!
//! Apart from what is said once: this line is written over again and again, and makes way for every other.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over within this time shows no progress.
const LONG: Duration = Duration::from_millis(500);

/// How often the line is written at the most.
const EVERY: Duration = Duration::from_millis(100);

/// A line of progress, if a person looks on.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    since: Instant,
    shown: Option<Instant>,
}

impl Progress {
    /// One that is shown on standard error, if it is to be.
    pub(super) fn new(is_shown: bool) -> Self {
        let bar = is_shown.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, since: Instant::now(), shown: None }
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Shows how far it is, if that is due.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        let is_due = self.shown.map_or(now >= self.since + LONG, |shown| now >= shown + EVERY);
        if is_due {
            self.shown = Some(now);
            bar.set_message(text());
            bar.tick();
        }
    }

    /// Shows what will not change for a while.
    pub(super) fn show_now(&mut self, text: String) {
        if let Some(bar) = &self.bar {
            self.shown = Some(Instant::now());
            bar.set_message(text);
            bar.tick();
        }
    }

    /// Makes way for something that is written there.
    pub(super) fn leave(&mut self) {
        if let Some(bar) = self.bar.as_ref().filter(|_| self.shown.take().is_some()) {
            bar.finish_and_clear();
            bar.reset();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.leave();
    }
}
