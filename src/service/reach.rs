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
        let started = Instant::now();
        let (mut wait_pause, mut retry_pause) = (WAIT_PAUSE.0, RETRY_PAUSE.0);
        let mut retries = self.retries;
        loop {
            let left = self.wait.map(|wait| wait.saturating_sub(started.elapsed()));
            let error = match self.attempt(endpoints, left).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.kind() == ErrorKind::Usage => return Err(error),
                Err(error) => error,
            };
            let waited = started.elapsed();
            if let Some(left) = self.wait.and_then(|wait| wait.checked_sub(waited)).filter(|left| !left.is_zero()) {
                sleep(wait_pause.min(left)).await;
                wait_pause = (wait_pause * 2).min(WAIT_PAUSE.1);
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

    /// Tries each endpoint once; none for longer than what is `left` of the waiting, unless it is over or was not wanted.
    async fn attempt(&self, endpoints: &[Endpoint], left: Option<Duration>) -> net::Result<Connection> {
        let mut connector = self.connector.clone();
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            connector.timeout = connector.timeout.min(left);
        }
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
