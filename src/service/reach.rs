//! `Reach`: getting a connection to one of several addresses, now or when the server is there.
//!
//! Apart from [`Connector`], which makes one attempt on one endpoint: here is how often, and which is next.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::net::{self, Connection, Connector, Endpoint, ErrorKind};

/// The pauses between attempts while waiting for a server: at first, and at the most.
const WAIT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The pauses between attempts that are counted: at first, and at the most.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How a connection is sought. The default tries each endpoint once.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Settings of each attempt; the source address is for all endpoints.
    pub connector: Connector,
    /// How long to go on trying; `Duration::MAX` is for ever.
    pub wait: Option<Duration>,
    /// How often to try again beside that.
    pub retries: u32,
}

impl Reach {
    /// Connects to the first endpoint that answers, in their order.
    ///
    /// # Errors
    /// That of the first endpoint, when no attempt is left. A mistake in an address is not tried again.
    pub async fn connect(&self, endpoints: &[Endpoint]) -> net::Result<Connection> {
        let mut waiting = Waiting::new(self.wait);
        let mut retry_pause = RETRY_PAUSE.0;
        let mut retries = self.retries;
        loop {
            let error = match self.attempt(endpoints, &waiting).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.kind() == ErrorKind::Usage => return Err(error),
                Err(error) => error,
            };
            if waiting.goes_on() {
                waiting.pause().await;
            } else if retries > 0 {
                tracing::info!("{error}: again in {retry_pause:?}");
                retries -= 1;
                sleep(retry_pause).await;
                retry_pause = (retry_pause * 2).min(RETRY_PAUSE.1);
            } else {
                return Err(error);
            }
        }
    }

    /// Tries each endpoint once.
    async fn attempt(&self, endpoints: &[Endpoint], waiting: &Waiting) -> net::Result<Connection> {
        let connector = waiting.bounded(&self.connector);
        let mut first = None;
        for endpoint in endpoints {
            match connector.connect(endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    if endpoints.len() > 1 {
                        tracing::info!("{error}");
                    }
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| net::Error::usage("there is no address to connect to")))
    }
}

/// Waiting for a server: what is left of it, and the growing pauses between attempts.
#[derive(Debug)]
pub(super) struct Waiting {
    started: Instant,
    wait: Duration,
    pause: Duration,
}

impl Waiting {
    /// Begins to wait, for so long; `None` is not at all, `Duration::MAX` for ever.
    pub(super) fn new(wait: Option<Duration>) -> Self {
        Self { started: Instant::now(), wait: wait.unwrap_or_default(), pause: WAIT_PAUSE.0 }
    }

    /// Whether another attempt is due when one has failed.
    pub(super) fn goes_on(&self) -> bool {
        !self.left().is_zero()
    }

    /// The settings of an attempt: it takes no longer than what is left of the waiting, unless it is over or was not wanted.
    pub(super) fn bounded(&self, connector: &Connector) -> Connector {
        let timeout = if self.goes_on() { connector.timeout.min(self.left()) } else { connector.timeout };
        Connector { timeout, ..connector.clone() }
    }

    /// Lets the time between two attempts pass.
    pub(super) async fn pause(&mut self) {
        sleep(self.pause.min(self.left())).await;
        self.pause = (self.pause * 2).min(WAIT_PAUSE.1);
    }

    fn left(&self) -> Duration {
        self.wait.saturating_sub(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Vec<Endpoint> {
        vec!["unix:@wilco-test-nobody-is-here".parse().expect("an endpoint")]
    }

    #[tokio::test(start_paused = true)]
    async fn waits_and_retries_so_long_and_no_longer() {
        for (wait, retries, elapsed) in [
            (None, 0, Duration::ZERO),
            (Some(Duration::from_secs(5)), 0, Duration::from_secs(5)),
            (None, 3, Duration::from_secs(1 + 2 + 4)),
        ] {
            let started = Instant::now();
            let reach = Reach { wait, retries, ..Reach::default() };
            let error = reach.connect(&nobody()).await.expect_err("nobody is there");
            assert_eq!(error.errno(), Some(nix::errno::Errno::ECONNREFUSED));
            assert!(started.elapsed() >= elapsed && started.elapsed() < elapsed + Duration::from_millis(10));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mistake_is_not_tried_again() {
        let reach = Reach { wait: Some(Duration::MAX), ..Reach::default() };
        let endpoints = ["-".parse().expect("an endpoint")];
        assert_eq!(reach.connect(&endpoints).await.expect_err("no socket").kind(), ErrorKind::Usage);
    }
}
