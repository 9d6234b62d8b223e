//! `Running`: a server that serves, and all that watches over it: signals, the supervisor, standard output.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::app::json::{Events, Object};
use crate::app::runtime::{Hangup, Request, ServerSignals};
use crate::app::screen::StandardOutput;
use crate::app::supervisor::Supervisor;
use crate::app::{Exit, report};
use crate::net::{Listener, plain};
use crate::service::forward::{Forwarding, GRACE};
use crate::service::store::Store;
use crate::service::{AccessRules, Conversations, Gate, Server};

/// How much longer than it may take is waited for what goes on to other servers.
const BEYOND_GRACE: Duration = Duration::from_secs(2);

/// A server that is ready to serve, and all that watches over it.
pub(super) struct Running {
    pub(super) conversations: Conversations,
    pub(super) listeners: Vec<Listener>,
    pub(super) screen: Arc<StandardOutput>,
    pub(super) supervisor: Supervisor,
    pub(super) says_notices: bool,
    /// Who is let in: read anew when that is asked for. If it fails, what was read before stays in force.
    pub(super) rules: AccessRules,
    pub(super) gate: Gate,
    /// Whoever wants what happens as JSON.
    pub(super) events: Option<Arc<Events>>,
    /// Where messages are kept. It is closed in order, unless that would keep a user waiting.
    pub(super) store: Option<Arc<dyn Store>>,
    /// What goes on to other servers. At the end it has a moment for what is left.
    pub(super) forwards: Vec<Forwarding>,
}

impl Running {
    /// Serves until it is over or a signal ends it; a second signal does not wait for what is in hand.
    pub(super) async fn serve(mut self, server: Server) -> anyhow::Result<Exit> {
        let hangup = match self.conversations {
            Conversations::One => Hangup::Ends,
            Conversations::Many => Hangup::Reloads,
        };
        let mut signals = ServerSignals::catch(hangup)?;
        let mut watchdog = Watchdog::of(&self.supervisor);
        if let Err(error) = self.tell_ready().await {
            return unwritten(&error);
        }
        let end = Cell::new(Exit::Done);
        let (signalled, mut stop) = tokio::sync::oneshot::channel::<()>();
        let mut signalled = Some(signalled);
        let mut store = self.store.take();
        let mut forwards = std::mem::take(&mut self.forwards);
        let screen = self.screen.clone();
        let mut serving = std::pin::pin!(server.serve(std::mem::take(&mut self.listeners), async {
            tokio::select! {
                _ = &mut stop => {}
                _ = screen.failed() => end.set(Exit::Failed),
            }
        }));
        let mut stalls = std::pin::pin!(screen.tell_of_stalls());
        let mut reloading: Option<Pin<Box<dyn Future<Output = ()> + '_>>> = None;
        let served = loop {
            tokio::select! {
                served = &mut serving => break served?,
                () = reloaded(&mut reloading) => reloading = None,
                () = watchdog.is_due() => self.supervisor.alive(),
                () = &mut stalls => {}
                request = signals.next() => match (request, signalled.take()) {
                    (Request::End(exit), Some(signalled)) => {
                        reloading = None;
                        self.supervisor.stopping();
                        end.set(exit);
                        // It has ended by itself just now, then.
                        let _ = signalled.send(());
                    }
                    (Request::End(exit), None) => {
                        // What is under way there is whole or not there, whenever the process ends.
                        std::mem::forget(store.take());
                        return Ok(exit);
                    }
                    (Request::Reload, Some(not_signalled)) => {
                        signalled = Some(not_signalled);
                        // One that was not over has read what is out of date.
                        reloading = Some(Box::pin(self.reload()));
                    }
                    // What is about to end needs nothing new.
                    (Request::Reload, None) => {}
                },
            }
        };
        if signalled.is_some() {
            self.supervisor.stopping();
        }
        tokio::select! {
            () = forwarded(&mut forwards) => {}
            Request::End(exit) = signals.next() => {
                std::mem::forget(store.take());
                return Ok(exit);
            }
        }
        if served.cut_off > 0 {
            report::notice(&format!("{} conversations were cut off: they took too long to end", served.cut_off));
        }
        if end.get() == Exit::Failed {
            return unwritten(screen.failed().await);
        }
        Ok(end.get())
    }

    async fn tell_ready(&self) -> io::Result<()> {
        let names: Vec<_> = self.listeners.iter().flat_map(Listener::names).collect();
        for name in &names {
            if self.says_notices {
                report::notice(&format!("listening on {name}"));
            }
            if let Some(events) = &self.events {
                events.tell(Object::event("listening").with("address", name.clone())).await?;
            }
        }
        self.supervisor.ready(&format!("listening on {}", names.join(", ")));
        Ok(())
    }

    async fn reload(&self) {
        self.supervisor.reloading();
        match self.rules.load().await {
            Ok(access) => {
                self.gate.replace(access);
                if self.says_notices {
                    report::notice("reloaded");
                }
            }
            Err(error) => {
                report::error(&error.into(), Exit::Failed);
                report::notice("nothing was reloaded: what was in force stays so");
            }
        }
        self.supervisor.reloaded();
    }
}

/// Waits until what goes on to other servers has ended, and what is stored by now is there, if it is soon.
async fn forwarded(forwards: &mut [Forwarding]) {
    forwards.iter().for_each(Forwarding::stop);
    let all = async {
        for forwarding in forwards {
            forwarding.ended().await;
        }
    };
    // One may be waiting for a store that does not answer. What it has not noted it delivers again, and nobody stores that twice.
    let _ = timeout(GRACE + BEYOND_GRACE, all).await;
}

/// How a server ends that can show nothing. A reader that has gone has seen enough.
fn unwritten(error: &io::Error) -> anyhow::Result<Exit> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Exit::Failed),
        _ => Err(anyhow::anyhow!("standard output: {}", plain(error))),
    }
}

/// Waits until what is read anew has been read. A file or a look-up that takes long holds up neither signals nor the supervisor.
async fn reloaded(reloading: &mut Option<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

/// The beat that a supervisor wants to hear, for as long as this process handles anything at all.
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn of(supervisor: &Supervisor) -> Self {
        Self(supervisor.watchdog().map(|period| {
            let mut beat = interval(period);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        }))
    }

    async fn is_due(&mut self) {
        match &mut self.0 {
            Some(beat) => beat.tick().await,
            None => std::future::pending().await,
        };
    }
}
