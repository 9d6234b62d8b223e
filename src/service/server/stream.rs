//! One connection of a server, from its first message to its close: read, handle, acknowledge.
//!
//! Apart from accepting: this knows one peer. All messages of a read are handled together, and all their acknowledgements
//! leave in one write.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use super::answer::{Answers, Then};
use super::assured;
use super::patience::{Late, Patience};
use super::setting::{GIVEN_AWAY, Setting, encode_text};
use super::strangers::{Stranger, turn_away};
use crate::net::{Stream, plain};
use crate::service::handler::CLOSE_DISCARD;
use crate::service::limits::Ticket;
use crate::service::workspace::Inbox;
use crate::service::{Conversation, Observed, Peer};
use crate::wire;
use crate::wire::assured::{Detected, MAX_HEADER, detect};

/// So much of a first message makes a connection one that is in use, though nothing whole has come: as long as the header of a frame may be.
const BEGUN: usize = MAX_HEADER;

/// Serves one stream until the peer has ended it, something is wrong, its place is given to another, or the server is to stop.
pub(super) async fn converse(setting: &Setting, stream: &mut Stream, peer: &Peer, place: &mut Ticket) -> Conversation {
    let mut had = Conversation::default();
    let closing = match read_and_handle(setting, stream, peer, place, &mut had).await {
        // The peer has said all: there is nothing left to be read.
        Ok(End::Theirs) => 0,
        Ok(End::Ours) => CLOSE_DISCARD,
        Ok(End::OfSession) => return had,
        Err(error) => {
            let trouble = plain(&error);
            tracing::warn!("{peer}: {trouble}");
            had.trouble = Some(trouble);
            CLOSE_DISCARD
        }
    };
    setting.terms.close(stream, closing).await;
    had
}

/// Whose wish it was that a conversation is over.
enum End {
    Theirs,
    Ours,
    /// It was an assured session, which closes the connection in its own way.
    OfSession,
}

async fn read_and_handle(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    place: &mut Ticket,
    had: &mut Conversation,
) -> io::Result<End> {
    let mut inbox = Inbox::new(setting.framing, setting.max_message);
    let mut patience = Patience::new(setting);
    let mut stopped = pin!(setting.terms.stop.wait());
    // Only what a connection begins with can say that it is something else.
    let mut begins = setting.assured.as_ref();
    loop {
        let event = poll_fn(|cx| {
            let stopping = setting.terms.stop.is_set();
            match inbox.poll_read(cx, stream) {
                Poll::Ready(read) => return Poll::Ready(Event::Read(read)),
                // A conversation that is to stop still takes what has arrived. The kernel is asked: what the runtime knows of
                // it is as old as its last turn.
                Poll::Pending if stopping && !stream.has_input() => return Poll::Ready(Event::Stopped),
                Poll::Pending => {}
            }
            if !stopping && stopped.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            if place.poll_given_away(cx).is_ready() {
                return Poll::Ready(Event::GivenAway);
            }
            patience.poll(cx, inbox.unfinished()).map(Event::Late)
        })
        .await;
        let ended = match event {
            Event::Read(read) => read? == 0,
            Event::Stopped => return Ok(End::Ours),
            Event::GivenAway => {
                Box::pin(say_why(setting, stream, GIVEN_AWAY.to_owned(), had)).await?;
                // Another has its place already: it is not read for long.
                return Ok(End::Theirs);
            }
            Event::Late(Late::Unfinished) => {
                tracing::warn!("{peer}: sent {} bytes of a message without its end", inbox.unfinished());
                tracing::warn!("with --framing read each read is a message, with --framing whole the whole stream");
                continue;
            }
            Event::Late(Late::Idle(idle)) => {
                // In a box, as below: a connection that is open should not be larger for how it ends.
                let reason = format!("no whole message came for {idle:?}");
                Box::pin(say_why(setting, stream, reason, had)).await?;
                return Ok(End::Ours);
            }
        };
        if let Some(sessions) = begins
            && !ended
        {
            match detect(inbox.unread()) {
                Detected::Plain => begins = None,
                Detected::NeedMore => {
                    inbox.handled();
                    continue;
                }
                // In boxes: an open connection is not larger for what it might have been.
                Detected::Assured => {
                    // From here on a session has its own time to open in.
                    place.heard();
                    *had = Box::pin(assured::converse_stream(setting, sessions, stream, peer, inbox)).await;
                    return Ok(End::OfSession);
                }
                Detected::TlsHello => {
                    Box::pin(turn_away(setting, stream, peer, Stranger::Tls, had)).await?;
                    return Ok(End::Ours);
                }
                Detected::Http => {
                    Box::pin(turn_away(setting, stream, peer, Stranger::Http, had)).await?;
                    return Ok(End::Ours);
                }
            }
        }
        had.had_message |= !ended;
        loop {
            let decoded = if ended { inbox.finish().map(|()| false) } else { inbox.decode() };
            if inbox.count() > 0 || inbox.unfinished() >= BEGUN {
                place.heard();
            }
            let go_on = handle(setting, &mut inbox, stream, peer, had, &mut patience).await?;
            inbox.handled();
            match decoded {
                Err(error) => {
                    Box::pin(refuse(setting, stream, peer, error, had)).await?;
                    return Ok(End::Ours);
                }
                Ok(_) if !go_on || (setting.only_first && had.had_message) => return Ok(End::Ours),
                Ok(false) if ended => return Ok(End::Theirs),
                Ok(false) => break,
                // A read of very short messages is handled in parts, so that their outcomes stay few.
                Ok(true) => {}
            }
        }
    }
}

/// What a conversation waits for.
enum Event {
    Read(io::Result<usize>),
    Stopped,
    GivenAway,
    Late(Late),
}

/// Handles the messages of a read and sends their answers. Gives false if the conversation cannot go on.
async fn handle(
    setting: &Setting,
    inbox: &mut Inbox,
    stream: &mut Stream,
    peer: &Peer,
    had: &mut Conversation,
    patience: &mut Patience,
) -> io::Result<bool> {
    let found = inbox.count();
    if found == 0 {
        return Ok(true);
    }
    patience.moved();
    had.had_message = true;
    // What takes long is answered one by one: a client waits for a next answer, not for the last.
    let at_once = if setting.handler.takes_long() { 1 } else { found };
    let mut answers = Answers::default();
    for start in (0..found).step_by(at_once) {
        let part = start..found.min(start + at_once);
        if let Some((messages, outcomes, _)) = inbox.part(part.clone()) {
            outcomes.clear();
            setting.handler.handle(messages, peer, outcomes).await;
            outcomes.complete(part.len());
        }
        while let Some((_, outcomes, output)) = inbox.part(part.clone()) {
            let then = answers.fill(setting, peer, outcomes, output);
            send(setting, stream, output).await?;
            had.messages += answers.handled as u64;
            if setting.observer.is_some() {
                // In a box, as all that seldom is.
                Box::pin(tell(setting, peer, &answers)).await;
            }
            answers.handled = 0;
            answers.refused.clear();
            match then {
                Then::More => {}
                Then::GoOn => break,
                Then::End(reason) => {
                    had.trouble = Some(reason);
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
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

async fn refuse(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    error: wire::Error,
    had: &mut Conversation,
) -> io::Result<()> {
    tracing::warn!("{peer}: refused: {error}");
    setting.tell(Observed::Refused(peer, &error.to_string())).await;
    had.trouble = Some(error.to_string());
    let mut refusal = Vec::new();
    encode_text(setting.framing, wire::plain::refusal(&error.to_string()).as_bytes(), &mut refusal);
    setting.terms.write_all(stream, &refusal).await
}

/// Tells a peer that the conversation ends before it wanted.
async fn say_why(setting: &Setting, stream: &mut Stream, reason: String, had: &mut Conversation) -> io::Result<()> {
    let mut words = Vec::new();
    encode_text(setting.framing, wire::plain::not_now(&reason).as_bytes(), &mut words);
    had.trouble = Some(reason);
    setting.terms.write_all(stream, &words).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::net::Addr;
    use crate::service::handler::Reply;
    use crate::service::limits::PeerKey;
    use crate::service::server::ServerConfig;
    use crate::service::{Admission, Limits, Stop};

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let setting = Setting::new(Arc::new(Reply("".into())), &ServerConfig::default(), Stop::new().1);
        let (mut stream, _other) = Stream::pair(1);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let admission = Admission::new(&Limits::default());
        let mut place = admission.admit(PeerKey::of(&peer.addr, None), Instant::now()).expect("a place");
        let size = size_of_val(&converse(&setting, &mut stream, &peer, &mut place));
        assert!(size <= 1024, "{size} bytes");
    }
}
