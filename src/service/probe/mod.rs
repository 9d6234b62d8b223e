//! `Probe`: is something there? Connects to many addresses at once, sends nothing and closes in order.
//!
//! Apart from [`Reach`](super::Reach), which wants one connection and keeps it: here every address is asked, and what is
//! kept is the answer.

mod finding;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::reach::Waiting;
use crate::net::{self, Addr, Connection, Connector, Endpoint, Error, Purpose, Type, check, resolve};

pub use finding::{Finding, State};
pub use place::Place;

/// How long one attempt may take, unless said otherwise: enough for the third packet that asks for a connection (tcp(7)).
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many attempts are made at the same time: far fewer than a process may have descriptors by default, each attempt on a host
/// with IPv6 and IPv4 takes two.
pub const CONCURRENT_ATTEMPTS: usize = 128;

/// How long the other side gets to end its direction, so that closing does not reset what it has said, such as a greeting.
pub const PROBE_CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// How much of what the other side says is read meanwhile, in bytes.
const MAX_GREETING: usize = 64 * 1024;

/// Settings of a probe. The default asks each address once, for five seconds.
///
/// ```no_run
/// # async fn example() -> wilco::net::Result<()> {
/// let mut findings = wilco::Probe::default().start(vec!["cheerios:8000-8010".parse()?]).await?;
/// while let Some(finding) = findings.next().await {
///     println!("{} {}", finding.place, finding.state);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Probe {
    /// Settings of each attempt. Its timeout is for the look-up of a name and for the connecting, one each; default [`PROBE_TIMEOUT`].
    pub connector: Connector,
    /// How long to go on asking those that do not answer; `Duration::MAX` is for ever. Default: not at all.
    pub wait: Option<Duration>,
    /// When it is enough.
    pub enough: Enough,
}

/// When enough is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enough {
    /// When every address was asked.
    #[default]
    All,
    /// When one answers.
    Any,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            connector: Connector { timeout: PROBE_TIMEOUT, ..Connector::default() },
            wait: None,
            enough: Enough::All,
        }
    }
}

impl Probe {
    /// Begins to ask about places, all at once but for [`CONCURRENT_ATTEMPTS`]. Must be called in a runtime of tokio.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](net::ErrorKind::Usage): a mistake in one of them, before any is asked.
    pub async fn start(&self, places: Vec<Place>) -> net::Result<Findings> {
        for place in &places {
            check(place.endpoint(), Purpose::Connect, self.connector.family, self.connector.names).await?;
        }
        let (sender, events) = mpsc::channel(CONCURRENT_ATTEMPTS);
        let slots = Arc::new(Semaphore::new(CONCURRENT_ATTEMPTS));
        let mut tasks = JoinSet::new();
        let mut number = 0;
        for place in places {
            let size = place.size();
            let asking =
                Asking { probe: self.clone(), place, first: number, slots: slots.clone(), findings: sender.clone() };
            tasks.spawn(asking.run());
            number += size;
        }
        Ok(Findings { enough: self.enough, tasks, events, known: BTreeMap::new(), next: 0, over: false })
    }
}

/// What a probe finds, in the order in which was asked, each as soon as it and those before it are known. Dropping it ends
/// the asking.
#[derive(Debug)]
pub struct Findings {
    enough: Enough,
    tasks: JoinSet<()>,
    events: mpsc::Receiver<(usize, Finding)>,
    /// Those that came before their turn.
    known: BTreeMap<usize, Finding>,
    next: usize,
    over: bool,
}

impl Findings {
    /// The next finding; `None` after the last.
    ///
    /// Where one is enough, the first that is open is the only one. If none is, all are told.
    pub async fn next(&mut self) -> Option<Finding> {
        loop {
            let in_turn =
                self.enough == Enough::All && self.known.first_key_value().map(|(n, _)| *n) == Some(self.next);
            if in_turn || self.over {
                let (number, finding) = self.known.pop_first()?;
                self.next = number + finding.place.size();
                return Some(finding);
            }
            match self.events.recv().await {
                Some((_, finding)) if self.enough == Enough::Any && finding.is_open() => {
                    self.tasks.abort_all();
                    self.known.clear();
                    self.over = true;
                    return Some(finding);
                }
                Some((number, finding)) => drop(self.known.insert(number, finding)),
                None => self.over = true,
            }
        }
    }
}

/// Asks about one place until it is answered or the waiting is over.
struct Asking {
    probe: Probe,
    place: Place,
    /// The number of its first address among all that were asked.
    first: usize,
    slots: Arc<Semaphore>,
    findings: mpsc::Sender<(usize, Finding)>,
}

impl Asking {
    async fn run(self) {
        let mut waiting = Waiting::new(self.probe.wait);
        let mut unanswered: Vec<usize> = (0..self.place.size()).collect();
        let mut told = None;
        loop {
            // The name is looked up once for all ports, and again each time, for it may lead elsewhere by then.
            let connector = waiting.bounded(&self.probe.connector);
            let failure = match self.look_up(&connector).await {
                Ok(addrs) => self.round(&mut unanswered, &addrs, &waiting).await,
                Err(error) if error.kind() == net::ErrorKind::Usage || !waiting.goes_on() => {
                    let finding = Finding::not_looked_up(self.place.clone(), error);
                    return drop(self.findings.send((self.first, finding)).await);
                }
                Err(error) => Some(error.to_string()),
            };
            if unanswered.is_empty() {
                return;
            }
            if failure.is_some() && told != failure {
                tracing::info!("waiting: {}", failure.as_deref().unwrap_or_default());
                told = failure;
            }
            waiting.pause().await;
        }
    }

    /// The addresses of the host, with the first port of a range.
    async fn look_up(&self, connector: &Connector) -> net::Result<Vec<Addr>> {
        let endpoint = self.place.endpoint();
        let looking = resolve(endpoint, Purpose::Connect, connector.family, connector.names);
        let late = |_| Error::timeout("look up", format!("no answer within {:?}", connector.timeout));
        timeout(connector.timeout, looking).await.map_err(|error| late(error).on(endpoint.name()))?
    }

    /// Asks each of the unanswered once; those that are to be asked again remain. Gives what kept one of them from answering.
    async fn round(&self, unanswered: &mut Vec<usize>, addrs: &[Addr], waiting: &Waiting) -> Option<String> {
        let mut next = std::mem::take(unanswered).into_iter().peekable();
        let mut running = JoinSet::new();
        let mut failure = None;
        loop {
            tokio::select! {
                biased;
                Some(ended) = running.join_next() => {
                    // Only a defect makes an attempt panic; then there is nothing to tell.
                    let Ok((number, finding)) = ended else { continue };
                    let finding: Finding = finding;
                    if finding.is_final() || !waiting.goes_on() {
                        // Nobody wants to know any more if this fails, and the task ends with its receiver.
                        let _ = self.findings.send((self.first + number, finding)).await;
                    } else {
                        failure = finding.error.map(|error| error.to_string());
                        unanswered.push(number);
                    }
                }
                Ok(slot) = self.slots.clone().acquire_owned(), if next.peek().is_some() => {
                    let Some(number) = next.next() else { continue };
                    let (place, of_range) = (self.place.nth(number), self.place.is_range());
                    let connector = waiting.bounded(&self.probe.connector);
                    let addrs = addrs.iter().map(|addr| with_port_of(&place, addr)).collect();
                    running.spawn(async move { (number, attempt(slot, connector, place, of_range, addrs).await) });
                }
                else => return failure,
            }
        }
    }
}

/// One address: connects, and closes in order.
async fn attempt(
    slot: OwnedSemaphorePermit,
    connector: Connector,
    endpoint: Endpoint,
    of_range: bool,
    addrs: Vec<Addr>,
) -> Finding {
    let started = Instant::now();
    let connected = connector.connect_to(&endpoint, addrs).await;
    let time = started.elapsed();
    let place = Place::of_one(endpoint);
    let finding = match connected {
        Err(error) => Finding::failed(place, of_range, error, time),
        Ok(connection) => {
            let peer = connection.socket().and_then(|socket| socket.peer_addr().ok());
            // It may hold on for longer, and that is not for us to wait for.
            let _ = timeout(PROBE_CLOSE_TIMEOUT, close(connection)).await;
            Finding::connected(place, of_range, peer, time)
        }
    };
    drop(slot);
    finding
}

/// Ends a connection and reads what the other side says until it has ended, too. Datagrams have no end.
async fn close(connection: Connection) {
    match connection {
        Connection::Stream(stream) => drop(stream.close(MAX_GREETING).await),
        Connection::Packets(packets) if packets.socket().socket_type() == Type::SEQPACKET => {
            let mut scrap = vec![0; 4096];
            let mut left = MAX_GREETING;
            // What fails here was lost by the other side, which has had its answer.
            if packets.socket().shutdown(std::net::Shutdown::Write).is_ok() {
                while let Ok(packet) = packets.recv(&mut scrap).await {
                    left = left.saturating_sub(packet.sent);
                    if packet.sent == 0 || left == 0 {
                        break;
                    }
                }
            }
        }
        Connection::Packets(_) => {}
    }
}

/// The address of the host with the port of one of a range.
fn with_port_of(endpoint: &Endpoint, addr: &Addr) -> Addr {
    let mut addr = addr.clone();
    if let (Addr::Inet(inet), net::Target::Inet { port: net::Port::Number(port), .. }) = (&mut addr, &endpoint.target) {
        inet.set_port(*port);
    }
    addr
}
