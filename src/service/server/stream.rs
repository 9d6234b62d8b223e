//! One connection of a server, from its first message to its close: read, handle, acknowledge.
//!
//! Apart from accepting: this knows one peer. All messages of a read are handled together, and all their acknowledgements
//! leave in one write.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use super::answer::{Answers, Then};
use super::assured;
use super::patience::{Late, Patience};
use super::setting::{GIVEN_AWAY, OTHERS_WAIT, Setting, encode_text};
use super::strangers::{Stranger, turn_away};
use super::under_way::UnderWay;
use crate::net::{Stream, plain};
use crate::service::handler::{CLOSE_DISCARD, Taker};
use crate::service::limits::Ticket;
use crate::service::workspace::{Inbox, Workspace};
use crate::service::{Conversation, Observed, Outcomes, Peer};
use crate::wire;
use crate::wire::assured::{Detected, MAX_HEADER, detect};

/// So much of a first message makes a connection one that is in use, though nothing whole has come: as long as the header of a frame may be.
const BEGUN: usize = MAX_HEADER;

/// Serves one stream until the peer has ended it, something is wrong, its place is given to another, or the server is to stop.
pub(super) async fn converse(setting: &Setting, stream: &mut Stream, peer: &Peer, place: &mut Ticket) -> Conversation {
    let mut talk = Talk {
        setting,
        stream,
        peer,
        place,
        had: Conversation::default(),
        inbox: Inbox::new(setting.framing, setting.max_message),
        patience: Patience::new(setting),
        taker: None,
        under_way: UnderWay::new(&setting.under_way),
    };
    let closing = match talk.read_and_handle().await {
        // The peer has said all: there is nothing left to be read.
        Ok(End::Theirs) => 0,
        Ok(End::Ours) => CLOSE_DISCARD,
        Ok(End::OfSession) => return talk.had,
        Err(error) => {
            let trouble = plain(&error);
            tracing::warn!("{peer}: {trouble}");
            talk.had.trouble = Some(trouble);
            CLOSE_DISCARD
        }
    };
    setting.terms.close(talk.stream, closing).await;
    // What was taken over is done all the same: so long it has its place, or whoever comes and goes would fill the memory.
    talk.under_way.done().await;
    talk.had
}

/// Whose wish it was that a conversation is over.
enum End {
    Theirs,
    Ours,
    /// It was an assured session, which closes the connection in its own way.
    OfSession,
}

/// What a conversation waits for.
enum Event {
    Read(io::Result<usize>),
    /// What became of messages that were taken over.
    Known(Outcomes),
    Stopped,
    GivenAway,
    Late(Late),
}

/// A conversation with a client.
struct Talk<'a> {
    setting: &'a Setting,
    stream: &'a mut Stream,
    peer: &'a Peer,
    place: &'a mut Ticket,
    had: Conversation,
    inbox: Inbox,
    patience: Patience,
    /// What takes messages over, if anything does. None until there are some.
    taker: Option<Option<Box<dyn Taker<'a> + 'a>>>,
    under_way: UnderWay<'a>,
}

impl Talk<'_> {
    async fn read_and_handle(&mut self) -> io::Result<End> {
        let setting = self.setting;
        let mut stopped = pin!(setting.terms.stop.wait());
        // Only what a connection begins with can say that it is something else.
        let mut begins = setting.assured.as_ref();
        loop {
            let ended = match poll_fn(|cx| self.poll(cx, stopped.as_mut())).await {
                Event::Read(read) => read? == 0,
                Event::Known(mut outcomes) => match self.answer(&mut outcomes).await? {
                    true => continue,
                    false => return Ok(End::Ours),
                },
                Event::Stopped => return self.settle().await.map(|_| End::Ours),
                Event::GivenAway => {
                    Box::pin(self.say_why(if self.had.messages > 0 { OTHERS_WAIT } else { GIVEN_AWAY }.to_owned()))
                        .await?;
                    // Another has its place already: it is not read for long.
                    return Ok(End::Theirs);
                }
                Event::Late(Late::Unfinished) => {
                    let (peer, unfinished) = (self.peer, self.inbox.unfinished());
                    tracing::warn!("{peer}: sent {unfinished} bytes of a message without its end");
                    tracing::warn!("with --framing read each read is a message, with --framing whole the whole stream");
                    continue;
                }
                Event::Late(Late::Idle(idle)) => {
                    // In a box, as below: a connection that is open should not be larger for how it ends.
                    Box::pin(self.say_why(format!("no whole message came for {idle:?}"))).await?;
                    return Ok(End::Ours);
                }
            };
            if let Some(sessions) = begins
                && !ended
            {
                match detect(self.inbox.unread()) {
                    Detected::Plain => begins = None,
                    Detected::NeedMore => {
                        self.inbox.handled();
                        continue;
                    }
                    // In boxes: an open connection is not larger for what it might have been.
                    Detected::Assured => {
                        // From here on a session has its own time to open in.
                        self.place.heard();
                        let inbox = mem::replace(&mut self.inbox, Inbox::new(setting.framing, setting.max_message));
                        let session = assured::converse_stream(setting, sessions, self.stream, self.peer, inbox);
                        self.had = Box::pin(session).await;
                        return Ok(End::OfSession);
                    }
                    Detected::TlsHello => {
                        Box::pin(turn_away(setting, self.stream, self.peer, Stranger::Tls, &mut self.had)).await?;
                        return Ok(End::Ours);
                    }
                    Detected::Http => {
                        Box::pin(turn_away(setting, self.stream, self.peer, Stranger::Http, &mut self.had)).await?;
                        return Ok(End::Ours);
                    }
                }
            }
            self.had.had_message |= !ended;
            loop {
                let decoded = if ended { self.inbox.finish().map(|()| false) } else { self.inbox.decode() };
                if self.inbox.count() > 0 || self.inbox.unfinished() >= BEGUN {
                    self.place.heard();
                }
                let go_on = self.handle().await?;
                self.inbox.handled();
                match decoded {
                    Err(error) => {
                        Box::pin(self.refuse(error)).await?;
                        return Ok(End::Ours);
                    }
                    Ok(_) if !go_on || (setting.only_first && self.had.had_message) => {
                        return self.settle().await.map(|_| End::Ours);
                    }
                    Ok(false) if ended => {
                        return self.settle().await.map(|go_on| if go_on { End::Theirs } else { End::Ours });
                    }
                    Ok(false) => break,
                    // A read of very short messages is handled in parts, so that their outcomes stay few.
                    Ok(true) => {}
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut stopped: Pin<&mut impl Future<Output = ()>>) -> Poll<Event> {
        if let Poll::Ready(outcomes) = self.under_way.poll(cx) {
            return Poll::Ready(Event::Known(outcomes));
        }
        if self.under_way.is_full() {
            return Poll::Pending;
        }
        let stopping = self.setting.terms.stop.is_set();
        match self.inbox.poll_read(cx, self.stream) {
            Poll::Ready(read) => return Poll::Ready(Event::Read(read)),
            // A conversation that is to stop still takes what has arrived. The kernel is asked: what the runtime knows of
            // it is as old as its last turn.
            Poll::Pending if stopping && !self.stream.has_input() => return Poll::Ready(Event::Stopped),
            Poll::Pending => {}
        }
        if !stopping && stopped.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        if !self.under_way.is_empty() {
            // It is the peer who waits.
            return Poll::Pending;
        }
        if self.place.poll_given_away(cx).is_ready() {
            return Poll::Ready(Event::GivenAway);
        }
        self.patience.poll(cx, self.inbox.unfinished()).map(Event::Late)
    }

    /// Handles the messages of a read and sends their answers, unless they come later. Gives false if the conversation cannot go on.
    async fn handle(&mut self) -> io::Result<bool> {
        let found = self.inbox.count();
        let setting = self.setting;
        let Some((messages, ..)) = self.inbox.part(0..found) else { return Ok(true) };
        if found == 0 {
            return Ok(true);
        }
        self.patience.moved();
        self.had.had_message = true;
        if let Some(taker) = self.taker.get_or_insert_with(|| setting.handler.taker(self.peer)) {
            let outcome = taker.take(messages);
            self.under_way.push(found, messages.iter().map(<[u8]>::len).sum(), outcome);
            return Ok(true);
        }
        // What takes long is answered one by one: a client waits for a next answer, not for the last.
        let at_once = if setting.handler.takes_long() { 1 } else { found };
        let mut answers = Answers::default();
        for start in (0..found).step_by(at_once) {
            let part = start..found.min(start + at_once);
            if let Some((messages, outcomes, _)) = self.inbox.part(part.clone()) {
                outcomes.clear();
                setting.handler.handle(messages, self.peer, outcomes).await;
                outcomes.complete(part.len());
            }
            while let Some((_, outcomes, output)) = self.inbox.part(part.clone()) {
                let then = answers.fill(setting, self.peer, outcomes, output);
                send(setting, self.stream, output).await?;
                match self.sent(&mut answers, then).await {
                    None => {}
                    Some(true) => break,
                    Some(false) => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Answers messages that were taken over, whose outcomes are known. Gives false if the conversation cannot go on.
    async fn answer(&mut self, outcomes: &mut Outcomes) -> io::Result<bool> {
        let mut workspace = Workspace::take();
        let mut answers = Answers::default();
        loop {
            let then = answers.fill(self.setting, self.peer, outcomes, &mut workspace.output);
            send(self.setting, self.stream, &workspace.output).await?;
            if let Some(go_on) = self.sent(&mut answers, then).await {
                workspace.give_back();
                // It had to wait for us until now.
                self.patience.moved();
                return Ok(go_on);
            }
        }
    }

    /// Tells of what was answered. Says whether the conversation goes on; none where there are more answers.
    async fn sent(&mut self, answers: &mut Answers, then: Then) -> Option<bool> {
        self.had.messages += answers.handled as u64;
        if self.setting.observer.is_some() {
            // In a box, as all that seldom is.
            Box::pin(tell(self.setting, self.peer, answers)).await;
        }
        answers.handled = 0;
        answers.refused.clear();
        match then {
            Then::More => None,
            Then::GoOn => Some(true),
            Then::End(reason) => {
                self.had.trouble = Some(reason);
                Some(false)
            }
        }
    }

    /// Waits for what is under way and answers it. Gives false if not all could be done.
    async fn settle(&mut self) -> io::Result<bool> {
        while !self.under_way.is_empty() {
            let mut outcomes = poll_fn(|cx| self.under_way.poll(cx)).await;
            if !self.answer(&mut outcomes).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn refuse(&mut self, error: wire::Error) -> io::Result<()> {
        if !self.settle().await? {
            return Ok(());
        }
        tracing::warn!("{}: refused: {error}", self.peer);
        self.setting.tell(Observed::Refused(self.peer, &error.to_string())).await;
        self.had.trouble = Some(error.to_string());
        self.say(&wire::plain::refusal(&error.to_string())).await
    }

    /// Tells a peer that the conversation ends before it wanted.
    async fn say_why(&mut self, reason: String) -> io::Result<()> {
        let words = wire::plain::not_now(&reason);
        self.had.trouble = Some(reason);
        self.say(&words).await
    }

    async fn say(&mut self, words: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode_text(self.setting.framing, words.as_bytes(), &mut bytes);
        self.setting.terms.write_all(self.stream, &bytes).await
    }
}

async fn tell(setting: &Setting, peer: &Peer, answers: &Answers) {
    for reason in &answers.refused {
        setting.tell(Observed::Refused(peer, reason)).await;
    }
    if answers.handled > 0 {
        setting.tell(Observed::Acknowledged(peer, answers.handled as u64)).await;
    }
}

async fn send(setting: &Setting, stream: &mut Stream, answers: &[u8]) -> io::Result<()> {
    let sent = setting.terms.write_all(stream, answers).await;
    sent.map_err(|error| io::Error::new(error.kind(), format!("the answer could not be sent: {}", plain(&error))))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
    use tokio::sync::oneshot;

    use super::super::under_way::MAX_UNDER_WAY;
    use super::*;
    use crate::net::Addr;
    use crate::service::handler::Reply;
    use crate::service::limits::PeerKey;
    use crate::service::server::ServerConfig;
    use crate::service::{Admission, BoxFuture, Handler, Limits, Messages, Outcome, Stop};

    fn place(peer: &Peer) -> Ticket {
        let admission = Admission::new(&Limits::default());
        admission.admit(PeerKey::of(&peer.addr, None), Instant::now()).expect("a place")
    }

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let setting = Setting::new(Arc::new(Reply("".into())), &ServerConfig::default(), Stop::new().1);
        let (mut stream, _other) = Stream::pair(1);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let size = size_of_val(&converse(&setting, &mut stream, &peer, &mut place(&peer)));
        assert!(size <= 1024, "{size} bytes");
    }

    /// Takes all over, and is told later what became of it.
    #[derive(Default)]
    struct Later(Mutex<Vec<oneshot::Sender<Outcome>>>);

    impl Later {
        /// Waits until so many reads were taken over.
        async fn taken(&self, reads: usize) {
            while self.0.lock().expect("a lock").len() < reads {
                tokio::task::yield_now().await;
            }
        }

        fn tell(&self, index: usize, outcome: Outcome) {
            let _ = self.0.lock().expect("a lock").remove(index).send(outcome);
        }
    }

    impl Handler for Arc<Later> {
        fn handle<'a>(&'a self, _: Messages<'a>, _: &'a Peer, _: &'a mut Outcomes) -> BoxFuture<'a, ()> {
            unreachable!("all is taken over")
        }

        fn taker<'a>(&'a self, _: &Peer) -> Option<Box<dyn Taker<'a> + 'a>> {
            Some(Box::new(&**self))
        }
    }

    impl<'a> Taker<'a> for &'a Later {
        fn take(&mut self, messages: Messages<'_>) -> BoxFuture<'a, Outcome> {
            assert!(!messages.is_empty());
            let (sender, receiver) = oneshot::channel();
            self.0.lock().expect("a lock").push(sender);
            Box::pin(async { receiver.await.expect("an outcome") })
        }
    }

    #[tokio::test]
    async fn more_is_read_while_what_was_taken_over_is_not_known() {
        let later = Arc::new(Later::default());
        let config = ServerConfig { acknowledgement: Some("ok".to_owned()), ..ServerConfig::default() };
        let (_stopper, stop) = Stop::new();
        let setting = Setting::new(Arc::new(later.clone()), &config, stop);
        let (mut stream, mut client) = Stream::pair(MAX_UNDER_WAY);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let client = async {
            let mut answers = [0; 64];
            client.write_all(b"1\n2\n").await.expect("sent");
            later.taken(1).await;
            client.write_all(b"3\n").await.expect("sent");
            later.taken(2).await;
            later.tell(1, Outcome::Done);
            tokio::task::yield_now().await;
            assert!(
                poll_fn(|cx| Poll::Ready(
                    Pin::new(&mut client).poll_read(cx, &mut ReadBuf::new(&mut answers)).is_pending()
                ))
                .await
            );
            later.tell(0, Outcome::Done);
            client.read_exact(&mut answers[..9]).await.expect("answers");
            assert_eq!(&answers[..9], b"ok\nok\nok\n");

            // So much that it is not all read.
            let much = [vec![b'x'; MAX_UNDER_WAY / 4 - 1], b"\n".to_vec()].concat();
            let sent = async {
                for _ in 0..9 {
                    client.write_all(&much).await?;
                }
                client.shutdown().await
            };
            let told = async {
                for _ in 0..9 {
                    later.taken(1).await;
                    for _ in 0..99 {
                        tokio::task::yield_now().await;
                    }
                    assert!(later.0.lock().expect("a lock").len() <= 4, "no more is read than may be under way");
                    later.tell(0, Outcome::Done);
                }
            };
            let (sent, ()) = tokio::join!(sent, told);
            sent.expect("sent");
            let mut rest = String::new();
            client.read_to_string(&mut rest).await.expect("answers");
            assert_eq!(rest, "ok\n".repeat(9));
        };
        let mut place = place(&peer);
        let (had, ()) = tokio::join!(converse(&setting, &mut stream, &peer, &mut place), client);
        assert_eq!((had.messages, had.trouble), (12, None));
    }

    #[tokio::test]
    async fn what_was_taken_over_is_answered_before_the_end() {
        let later = Arc::new(Later::default());
        let config = ServerConfig { acknowledgement: Some("ok".to_owned()), ..ServerConfig::default() };
        let (_stopper, stop) = Stop::new();
        let setting = Setting::new(Arc::new(later.clone()), &config, stop);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        for (outcome, answers, trouble) in [
            (Outcome::Done, "ok\n", None),
            (
                Outcome::Retry("the disk is full".to_owned()),
                "wilco: not now: the disk is full\n",
                Some("the disk is full"),
            ),
        ] {
            let (mut stream, mut client) = Stream::pair(64);
            let client = async {
                client.write_all(b"the last").await.expect("sent");
                client.shutdown().await.expect("ended");
                later.taken(1).await;
                later.tell(0, outcome);
                let mut all = String::new();
                client.read_to_string(&mut all).await.expect("answers");
                all
            };
            let mut place = place(&peer);
            let (had, all) = tokio::join!(converse(&setting, &mut stream, &peer, &mut place), client);
            assert_eq!((all.as_str(), had.trouble.as_deref()), (answers, trouble));
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_gone_has_its_place_until_what_it_sent_is_done() {
        let later = Arc::new(Later::default());
        let (_stopper, stop) = Stop::new();
        let setting = Setting::new(Arc::new(later.clone()), &ServerConfig::default(), stop);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let (mut stream, mut client) = Stream::pair(64);
        let mut place = place(&peer);
        let mut served = pin!(converse(&setting, &mut stream, &peer, &mut place));
        client.write_all(b"one\ntwo\n").await.expect("sent");
        let mut is_over = async || poll_fn(|cx| Poll::Ready(served.as_mut().poll(cx).is_ready())).await;
        assert!(!is_over().await);
        // What was not put off later is put off, and ends the conversation at once.
        client.write_all(b"three\n").await.expect("sent");
        assert!(!is_over().await);
        later.tell(0, Outcome::Retry("no".to_owned()));
        drop(client);
        assert!(!is_over().await, "something is under way");
        later.tell(0, Outcome::Done);
        assert!(is_over().await);
    }
}
