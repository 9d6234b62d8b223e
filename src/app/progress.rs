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
    is_wanted: bool,
    /// The line, while it is there.
    bar: Option<ProgressBar>,
    since: Instant,
    shown: Instant,
}

impl Progress {
    /// One that is shown on standard error, if it is to be.
    pub(super) fn new(is_wanted: bool) -> Self {
        let now = Instant::now();
        Self { is_wanted, bar: None, since: now, shown: now }
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Shows how far it is, if that is due.
    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.is_wanted && now >= self.since + LONG && now >= self.shown + EVERY {
            self.show_now(text());
        }
    }

    /// Shows what will not change for a while.
    pub(super) fn show_now(&mut self, text: String) {
        if !self.is_wanted {
            return;
        }
        self.shown = Instant::now();
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("{wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_message(text);
    }

    /// Warns of what holds it up, once while the reason is the same as the last, and shows it.
    pub(super) fn warn(&mut self, last: &mut String, reason: &str, text: String) {
        if last == reason {
            tracing::info!("{text}");
        } else {
            self.leave();
            tracing::warn!("{text}");
            *last = reason.to_owned();
        }
        self.show_now(text);
    }

    /// Makes way for something that is written there.
    pub(super) fn leave(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.leave();
    }
}
