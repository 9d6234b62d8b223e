//! `Udp`: the sessions of a UDP socket, whose packets are lost, doubled and overtaken, and whose sources may be forged.
//!
//! Apart from other packets, which need none of that: all sessions are one state machine, which knows whom to believe and what to send again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::registry::Place;
use super::session::{denial, put_off};
use super::{Assured, principal};
use crate::net::{Addr, Arrival, PacketSocket, plain};
use crate::service::limits::PeerKey;
use crate::service::server::Shared;
use crate::service::store::{self, Append, Opened, Source, StoreError};
use crate::service::{Observed, Peer};
use crate::wire::assured::datagram::{
    Caller, Opening, Secret, Sessions, SessionsConfig, SessionsInput, SessionsOutput, is_packet,
};
use crate::wire::assured::{Applied, SessionId, Verdict};

/// The sessions of one socket.
pub(in crate::service::server) struct Udp<'a> {
    shared: &'a Arc<Shared>,
    assured: &'a Assured,
    socket: &'a PacketSocket,
    local: Option<Addr>,
    sessions: Sessions<Remote>,
    open: HashMap<Opening, (Place<'a>, Arc<Source>)>,
    /// What the store is asked.
    asked: JoinSet<Answer>,
    due: Option<Instant>,
    news: Vec<News>,
    /// Messages that were applied.
    messages: u64,
}

/// Where a datagram came from, and where to.
#[derive(Clone, Debug)]
struct Remote {
    addr: Addr,
    arrival: Option<Arrival>,
}

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}

impl Eq for Remote {}

impl Caller for Remote {
    type Host = PeerKey;

    fn host(&self) -> PeerKey {
        PeerKey::of(&self.addr, None)
    }
}

/// What a store answers.
enum Answer {
    Opened(Opening, store::Opening, Result<Opened, StoreError>),
    /// To messages, the first of which has this number.
    Applied(Opening, SessionId, u64, Result<Applied, StoreError>),
}

/// What an observer is to be told.
enum News {
    Opened(Arc<Source>, SessionId, u64),
    Applied(Arc<Source>, SessionId, u64, u64),
}

impl<'a> Udp<'a> {
    /// Those of a socket; none where there are no sessions, or no random bytes to make cookies with.
    pub(in crate::service::server) fn new(
        shared: &'a Arc<Shared>,
        socket: &'a PacketSocket,
        local: Option<Addr>,
    ) -> Option<Self> {
        let assured = shared.setting.assured.as_ref()?;
        let mut random = [0; 32];
        if let Err(error) = getrandom::fill(&mut random) {
            tracing::warn!("without assured sessions over UDP: no random bytes: {error}");
            return None;
        }
        let config = SessionsConfig {
            server: assured.config.server.clone(),
            level: assured.config.level,
            max_body: assured.udp_body,
            idle: assured.config.idle_timeout,
            ..SessionsConfig::default()
        };
        let sessions = Sessions::new(config, Secret::new(random), Instant::now().into_std());
        let (open, asked) = (HashMap::new(), JoinSet::new());
        Some(Self { shared, assured, socket, local, sessions, open, asked, due: None, news: Vec::new(), messages: 0 })
    }

    /// Takes a datagram if it is one of the protocol. What follows from it is done by [`tend`](Self::tend).
    pub(in crate::service::server) fn take(&mut self, from: &Addr, arrival: Option<Arrival>, bytes: &[u8]) -> bool {
        if !is_packet(bytes) {
            return false;
        }
        let caller = Remote { addr: from.clone(), arrival };
        let source = from.to_string();
        if let Err(error) = self.sessions.datagram(caller, source.as_bytes(), bytes, Instant::now().into_std()) {
            tracing::debug!("{from}: no packet of a session: {error}");
        }
        true
    }

    /// Waits for the store, or until it is time for something, and does what then follows. Dropped before that it has done nothing.
    pub(in crate::service::server) async fn work(&mut self) {
        let due = async {
            match self.due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(Ok(answer)) = self.asked.join_next() => self.answered(answer),
            () = due => {}
            // Neither is there.
            else => std::future::pending().await,
        }
        self.tend();
    }

    /// Tells the observer what has happened.
    pub(in crate::service::server) async fn tell(&mut self) {
        for news in std::mem::take(&mut self.news) {
            let observed = match &news {
                News::Opened(source, session, acknowledged) => Observed::Opened {
                    peer: &source.peer,
                    session,
                    name: source.name.as_deref(),
                    acknowledged: *acknowledged,
                },
                News::Applied(source, session, through, messages) => {
                    Observed::Applied { peer: &source.peer, session, through: *through, messages: *messages }
                }
            };
            self.shared.setting.tell(observed).await;
        }
    }

    /// Does what the sessions want done, with what the store has answered.
    pub(in crate::service::server) fn tend(&mut self) {
        // A flood of datagrams would else keep its answers waiting.
        while let Some(answer) = self.asked.try_join_next() {
            if let Ok(answer) = answer {
                self.answered(answer);
            }
        }
        loop {
            match self.sessions.poll(Instant::now().into_std()) {
                SessionsOutput::Open { opening, open, from } => {
                    let peer = Peer { addr: from.addr, local: self.local.clone(), credentials: None };
                    let principal = principal(&peer, open.token.as_deref());
                    let name = open.name.map(std::borrow::Cow::into_owned);
                    let source = Arc::new(Source { peer, name });
                    let asked = store::Opening {
                        session: open.session,
                        first: open.first,
                        principal,
                        replies: open.replies,
                        source,
                    };
                    let store = self.assured.packets.clone();
                    self.asked.spawn(async move {
                        let answer = store.open(asked.clone()).await;
                        Answer::Opened(opening, asked, answer)
                    });
                }
                SessionsOutput::Apply { session, opening, run } => {
                    let Some((place, source)) = self.open.get(&opening) else { continue };
                    let (owner, source, first) = (place.owner, source.clone(), run.first);
                    let store = self.assured.packets.clone();
                    self.asked.spawn(async move {
                        let append = Append { session: session.clone(), owner, source, run };
                        let answer = store.append(append).await;
                        Answer::Applied(opening, session, first, answer)
                    });
                }
                SessionsOutput::Note { session, opening, through } => {
                    if let Some((place, _)) = self.open.get(&opening) {
                        self.assured.packets.note(&session, place.owner, through);
                    }
                }
                SessionsOutput::Send { to, datagram } => {
                    // What is not sent counts as lost on its way.
                    if let Err(error) = self.socket.try_send_to(&datagram, &to.addr, to.arrival) {
                        tracing::debug!("{}: not answered: {}", to.addr, plain(&error));
                    }
                }
                SessionsOutput::Close { opening, .. } => _ = self.open.remove(&opening),
                SessionsOutput::Wait(due) => {
                    self.due = due.map(Instant::from_std);
                    return;
                }
            }
        }
    }

    /// Has all that has come applied, and says how many messages were, in all.
    pub(in crate::service::server) async fn end(mut self) -> u64 {
        self.sessions.handle(SessionsInput::Drain, Instant::now().into_std());
        self.tend();
        while !self.sessions.is_quiet()
            && let Some(answer) = self.asked.join_next().await
        {
            if let Ok(answer) = answer {
                self.answered(answer);
            }
            self.tend();
        }
        self.tell().await;
        self.messages
    }

    fn answered(&mut self, answer: Answer) {
        let now = Instant::now().into_std();
        match answer {
            Answer::Opened(opening, asked, Ok(opened)) => {
                let store::Opening { session, source, .. } = asked;
                let acknowledged = opened.progress.acknowledged;
                let place = self.assured.registry.claim(&session, opened.owner);
                self.open.insert(opening, (place, source.clone()));
                self.sessions.handle(SessionsInput::Opened(session.clone(), opening, Ok(opened.progress)), now);
                tracing::info!("{}: session {session}, after message {acknowledged}", source.peer);
                self.note(News::Opened(source, session, acknowledged));
            }
            Answer::Opened(opening, asked, Err(error)) => {
                tracing::info!("{}: session {}: {error}", asked.source.peer, asked.session);
                self.sessions.handle(SessionsInput::Opened(asked.session, opening, Err(denial(&error))), now);
            }
            Answer::Applied(opening, session, first, answer) => {
                let applied = match answer {
                    Ok(applied) => applied,
                    Err(
                        error @ (StoreError::Full(_)
                        | StoreError::Busy(_)
                        | StoreError::Unreachable(_)
                        | StoreError::Failed(_)),
                    ) => put_off(&error, first - 1),
                    Err(error) => {
                        tracing::info!("session {session}: {error}");
                        return self.sessions.handle(SessionsInput::TakenOver(session, opening), now);
                    }
                };
                self.count(opening, &session, first, &applied);
                self.sessions.handle(SessionsInput::Applied(session, opening, applied), now);
            }
        }
    }

    /// Counts what was applied.
    fn count(&mut self, opening: Opening, session: &SessionId, first: u64, applied: &Applied) {
        let Some((_, source)) = self.open.get(&opening) else { return };
        let mut messages = (applied.through + 1).saturating_sub(first);
        for (number, verdict) in &applied.verdicts {
            if let Verdict::Refused(_, reason) = verdict {
                tracing::warn!("{}: refused: message {number}: {reason}", source.peer);
                messages = messages.saturating_sub(1);
            }
        }
        if let Some(reason) = &applied.put_off {
            tracing::info!("{}: message {} is not acknowledged: {}", source.peer, applied.through + 1, reason.reason);
        }
        self.messages += messages;
        if messages > 0 {
            let source = source.clone();
            self.note(News::Applied(source, session.clone(), applied.through, messages));
        }
    }

    fn note(&mut self, news: News) {
        if self.shared.setting.observer.is_some() {
            self.news.push(news);
        }
    }
}
