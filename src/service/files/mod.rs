//! `FileDelivery`: files out over as many connections, and as many sessions, as it takes, until each is known to be on the receiver's disk.
//!
//! Apart from [`Delivery`], which carries messages and is over when the server has lost its session: files are still there then, and the receiver has what it had of them.

mod digesting;
mod ending;
mod extents;
mod news;
mod reading;
mod resume;
#[cfg(test)]
mod tests;
mod transfers;
mod tree;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, mpsc::Sender, mpsc::channel, mpsc::sync_channel};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::Type;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Batch, Delivery, DeliveryConfig, Error, News, Result, Source};
use crate::net::{self, Endpoint, Target};
use crate::wire::assured::Level;
use digesting::{Digested, Way};
use reading::{Order, Reader};
use transfers::{Outcome, Transfers};

pub use ending::UnfinishedFiles;
pub use news::{FileFailure, FileNews, FileProgress, FileTally};
pub use resume::{Ask, Resume, STEP};
pub use tree::{FileItem, FileTrouble, Files};

/// How many bytes of a file go together, where the server takes so many.
pub const PART: usize = 256 * 1024;

/// The same in packets, which the system does not take of any length.
pub const PACKET_PART: usize = 32 * 1024;

/// A file of at most so many bytes is sent without asking how much of it is there.
pub const SMALL: u64 = 64 * 1024;

/// A hole is sent in pieces of so many bytes, since both sides compute the digest of its zeros, and what takes long is not acknowledged in time.
pub const LARGEST_HOLE: u64 = 256 * 1024 * 1024;

/// How many parts may wait between the threads that read and digest, and between those and the connection.
const QUEUE: usize = 8;

/// How long to wait before another session, if the last came to nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// What `data` LF takes before the bytes.
const DATA_HEADER: usize = 5;

/// What is kept of files and directories besides their contents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Keeps {
    /// Nothing.
    #[default]
    Nothing,
    /// The permissions, and the time of the last change.
    ModeAndTime,
}

/// Files that are being sent.
///
/// ```no_run
/// # use wilco::service::files::{FileDelivery, FileNews, Files, Keeps};
/// # async fn example() -> wilco::Result<()> {
/// let files = Files::find(&["photos".into()], None)?;
/// let servers = vec!["tcp:cheerios:51717".parse()?];
/// let mut delivery = FileDelivery::new(servers, Default::default(), files, Keeps::ModeAndTime)?;
/// loop {
///     match delivery.step().await? {
///         FileNews::Saved { item, digest, .. } => println!("{digest}  {}", delivery.files().items[item].path.display()),
///         FileNews::Done => break,
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FileDelivery {
    files: Arc<Files>,
    keeps: Keeps,
    servers: Vec<Endpoint>,
    config: DeliveryConfig,
    /// How many bytes go together at most.
    part: usize,
    delivery: Delivery,
    session: Session,
    news: VecDeque<FileNews>,
    /// When the next session begins, if the last has ended.
    again: Option<Instant>,
    /// When something was acknowledged last.
    moved: Instant,
    /// Whether anything was acknowledged in this session.
    has_moved: bool,
    tally: FileTally,
    reconnects: u64,
    /// Where the last connection is to.
    address: String,
    /// The server of the last session: as it calls itself, and where it is.
    home: Option<(String, String)>,
    /// What that one has saved.
    saved: Vec<Saved>,
    /// The directories that it has made.
    made: Vec<usize>,
    /// Those of which it was told that they are saved.
    told: HashSet<usize>,
}

/// A file that is saved.
#[derive(Clone, Copy, Debug)]
struct Saved {
    item: usize,
    size: u64,
    from: u64,
}

/// What has to do with one session: what it sends, and the threads from which that comes.
#[derive(Debug)]
struct Session {
    transfers: Transfers,
    parcels: Option<mpsc::Receiver<Digested>>,
    orders: Option<Sender<Order>>,
}

impl FileDelivery {
    /// Files that are to be sent to the first of these servers that answers.
    ///
    /// # Errors
    /// An address is not one of a server, or one over which nothing is answered.
    pub fn new(servers: Vec<Endpoint>, config: DeliveryConfig, files: Files, keeps: Keeps) -> Result<Self> {
        for endpoint in &servers {
            if matches!(endpoint.target, Target::Inet { socket_type: Type::DGRAM, .. }) {
                let what = format!("files cannot be sent over {}: datagrams have no answers", endpoint.name());
                return Err(net::Error::usage(what).hinting("tcp:HOST:PORT or unix:PATH can").into());
            }
        }
        let part = if servers.iter().all(is_stream) { PART } else { PACKET_PART };
        let config = DeliveryConfig { level: Some(Level::Saved), ..config };
        Ok(Self {
            delivery: Delivery::new(servers.clone(), config.clone())?,
            session: Session::new(0..files.items.len()),
            tally: FileTally { unreadable: files.unreadable.len() as u64, ..FileTally::default() },
            files: Arc::new(files),
            keeps,
            servers,
            config,
            part,
            news: VecDeque::new(),
            again: None,
            moved: Instant::now(),
            has_moved: false,
            reconnects: 0,
            address: String::new(),
            home: None,
            saved: Vec::new(),
            made: Vec::new(),
            told: HashSet::new(),
        })
    }

    /// What is sent.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// How far it is.
    pub fn tally(&self) -> FileTally {
        FileTally { reconnects: self.reconnects + self.delivery.tally().reconnects, ..self.tally }
    }

    /// The file that is under way.
    pub fn present(&self) -> Option<FileProgress> {
        let present = self.session.transfers.present()?;
        Some(FileProgress { item: present.item, bytes: present.bytes, size: present.size })
    }

    /// How many bytes the server has, those of files that are under way included.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes + self.session.transfers.under_way().map(|present| present.bytes).sum::<u64>()
    }

    /// Sends and receives until there is something to tell. Nothing is lost if it is dropped before, and asked again.
    ///
    /// # Errors
    /// It is over, and not all is saved: [`Error::FilesUnfinished`] if nothing was acknowledged for long, [`Error::NoFiles`] if the server
    /// saves none. What it has of a file it keeps, and the next delivery of it goes on from there.
    pub async fn step(&mut self) -> Result<FileNews> {
        loop {
            if let Some(news) = self.news.pop_front() {
                return Ok(news);
            }
            if self.files.items.is_empty() {
                return Ok(FileNews::Done);
            }
            if let Some(again) = self.again {
                tokio::time::sleep_until(again).await;
                self.delivery = Delivery::new(self.servers.clone(), self.config.clone())?;
                let waiting: Vec<_> = self.session.transfers.waiting().collect();
                self.session = Session::new(waiting);
                (self.again, self.has_moved) = (None, false);
            }
            match self.delivery.step(&mut self.session).await {
                Ok(news) => self.take(news),
                Err(Error::LostSession(lost)) if !self.is_out_of_patience() => {
                    self.reconnects += 1 + self.delivery.tally().reconnects;
                    self.session.stop();
                    let pause = if self.has_moved { Duration::ZERO } else { PAUSE };
                    self.again = Some(Instant::now() + pause);
                    self.news.push_back(FileNews::Renewed { reason: lost.reason });
                }
                Err(error) => return Err(self.explained(error)),
            }
            self.tell_outcomes();
        }
    }

    /// Ends what is under way. What the server has of files it keeps.
    pub async fn close(&mut self) {
        self.session.stop();
        // Without a spool there is nothing that could fail.
        let _ = self.delivery.close().await;
    }

    fn take(&mut self, news: News) {
        match news {
            News::Connected { address, peer, local } => {
                self.address.clone_from(&address);
                self.news.push_back(FileNews::Connected { address, peer, local });
            }
            News::Opened { server, .. } => {
                self.news.push_back(FileNews::Opened { server: server.clone() });
                self.settle_in((server, self.address.clone()));
                let most = self.delivery.max_body().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
                let part = self.part.min(most.saturating_sub(DATA_HEADER)).max(1);
                self.session.start(&self.files, part, self.keeps);
            }
            News::Replies(replies) => {
                replies.messages().for_each(|(number, reply)| self.session.transfers.replied(number, reply));
            }
            News::Refused { number, code, reason } => self.session.transfers.refused(number, code, reason),
            News::Acknowledged { last, .. } => {
                self.session.transfers.acknowledged(last);
                (self.moved, self.has_moved) = (Instant::now(), true);
                self.news.push_back(FileNews::Progress);
            }
            News::Lost { reason, again } => self.news.push_back(FileNews::Lost { reason, again }),
            // It comes again at once: there is nothing to be said of it.
            News::PutOff { after: Duration::ZERO, .. } => {}
            News::PutOff { reason, after, .. } => self.news.push_back(FileNews::PutOff { reason, after }),
            News::Done => {
                self.tell_outcomes();
                self.news.push_back(FileNews::Done);
            }
            News::Accepted(_) | News::Full(_) => {}
        }
        self.session.pass_orders();
    }

    /// What another server has saved this one need not have: it is offered that, too.
    fn settle_in(&mut self, home: (String, String)) {
        let before = self.home.replace(home.clone()).filter(|before| *before != home);
        let (Some(before), false) = (before, self.saved.is_empty()) else { return };
        let mut items: Vec<_> = self.session.transfers.waiting().collect();
        for Saved { item, size, from } in self.saved.drain(..) {
            self.tally.saved -= 1;
            self.tally.bytes -= size;
            self.tally.resumed -= from;
            items.push(item);
        }
        items.append(&mut self.made);
        items.sort_unstable();
        self.session = Session::new(items);
        let [(there, at), (here, place)] = [before, home];
        let reason =
            format!("{here} ({place}) is another server than {there} ({at}), and is offered what that one has");
        self.news.push_back(FileNews::Renewed { reason });
    }

    fn tell_outcomes(&mut self) {
        while let Some(outcome) = self.session.transfers.outcome() {
            let news = match outcome {
                Outcome::Made { item } => {
                    self.made.push(item);
                    continue;
                }
                Outcome::Resumed { item, from } => FileNews::Resumed { item, from },
                Outcome::Saved { item, size, digest, from } => {
                    self.tally.saved += 1;
                    self.tally.bytes += size;
                    self.tally.resumed += from;
                    self.saved.push(Saved { item, size, from });
                    if !self.told.insert(item) {
                        continue;
                    }
                    FileNews::Saved { item, size, digest, resumed_at: from }
                }
                Outcome::Failed { item, failure } => {
                    match failure {
                        FileFailure::Local(_) => self.tally.unreadable += 1,
                        FileFailure::Refused { .. } => self.tally.refused += 1,
                    }
                    FileNews::Failed { item, failure }
                }
            };
            self.news.push_back(news);
        }
        self.session.pass_orders();
    }

    /// Whether a new session makes no sense: those before it have come to nothing for so long.
    fn is_out_of_patience(&self) -> bool {
        self.config.patience.is_some_and(|patience| self.moved.elapsed() > patience)
    }
}

/// Whether parts of any length can be sent there.
fn is_stream(endpoint: &Endpoint) -> bool {
    match endpoint.target {
        Target::Inet { socket_type, .. }
        | Target::Srv { socket_type, .. }
        | Target::Unix { socket_type, .. }
        | Target::Vsock { socket_type, .. } => socket_type == Type::STREAM,
        // What was handed over may be anything.
        Target::Fd(_) | Target::Systemd(_) => false,
        Target::Stdio | Target::Exec(_) | Target::File(_) => true,
    }
}

impl Session {
    fn new(items: impl IntoIterator<Item = usize>) -> Self {
        Self { transfers: Transfers::new(items), parcels: None, orders: None }
    }

    /// Begins to read, unless that has begun.
    fn start(&mut self, files: &Arc<Files>, part: usize, keeps: Keeps) {
        if self.parcels.is_some() {
            return;
        }
        let mut items: Vec<_> = self.transfers.waiting().collect();
        items.sort_unstable();
        let (orders, ordered) = channel();
        let (work, wanted) = sync_channel(QUEUE);
        let (out, parcels) = mpsc::channel(QUEUE);
        let (files, guess, again) = (Arc::clone(files), Way::Straight, VecDeque::new());
        let reader = Reader { files, items, part, keeps, orders: ordered, work, guess, again, early: None };
        // They end when nobody wants anything any more; a disk that hangs keeps nothing else from ending.
        std::thread::spawn(|| reader.run());
        std::thread::spawn(move || digesting::run(&wanted, &out));
        (self.orders, self.parcels) = (Some(orders), Some(parcels));
        self.pass_orders();
    }

    /// Reads no more.
    fn stop(&mut self) {
        (self.orders, self.parcels) = (None, None);
    }

    fn pass_orders(&mut self) {
        if let Some(orders) = &self.orders {
            while let Some(order) = self.transfers.order() {
                // It has ended if nothing is to be read any more.
                let _ = orders.send(order);
            }
        }
    }
}

impl Source for Session {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        // Nothing is read before it is known how much a server takes at a time.
        let Some(parcels) = &mut self.parcels else { return Poll::Pending };
        let next = ready!(parcels.poll_recv(cx));
        let batch = match next {
            None => return Poll::Ready(None),
            Some(Digested::Parcel(parcel)) => {
                self.transfers.sent(&parcel);
                parcel.batch
            }
            Some(Digested::Failed(item, reason)) => {
                self.transfers.failed(item, reason);
                Batch::default()
            }
        };
        self.pass_orders();
        Poll::Ready(Some(batch))
    }
}
