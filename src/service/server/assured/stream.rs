//! The frames of a session over a stream.
//!
//! Apart from plain messages on a stream, whose first bytes were seen not to be frames.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::link::{Carrier, drive};
use super::session::{Room, Session};
use super::{Assured, CLOSE_DISCARD};
use crate::net::Stream;
use crate::service::server::config::LEAST_RATE;
use crate::service::server::setting::Setting;
use crate::service::workspace::Inbox;
use crate::service::{Conversation, Peer};
use crate::wire::assured::{FrameDecoder, Run, ServerFrame};

/// A buffer for what is to be sent that has grown beyond this is not kept.
const SMALL: usize = 1024;

/// Serves a session, whose first bytes are in the inbox, until it is over.
pub(in crate::service::server) async fn converse(
    setting: &Setting,
    assured: &Assured,
    stream: &mut Stream,
    peer: &Peer,
    inbox: Inbox,
) -> Conversation {
    let decoder = FrameDecoder::new(assured.config.max_body);
    let mut session = Session::new(setting, assured, &*assured.streams, assured.config.clone(), peer);
    let mut frames = Frames { stream, inbox, decoder, output: Vec::new(), sent: 0 };
    drive(&setting.terms, peer, &mut session, &mut frames).await;
    // What is not whole is not needed for the rest.
    drop(frames);
    session.holds(0);
    setting.terms.close(stream, CLOSE_DISCARD).await;
    session.finish().await
}

/// A stream and what is on its way through it.
struct Frames<'a> {
    stream: &'a mut Stream,
    inbox: Inbox,
    decoder: FrameDecoder,
    /// What is to be sent, of which so many bytes were.
    output: Vec<u8>,
    sent: usize,
}

impl Frames<'_> {
    /// Finds the frames in what was read, as far as the session wants them. Says whether there were any.
    fn parse(&mut self, session: &mut Session<'_>) -> bool {
        let (mut done, mut found) = (0, false);
        let now = Instant::now();
        while session.wants_input() {
            let decoder = &mut self.decoder;
            let unread = &self.inbox.unread()[done..];
            match session.take_messages(now, |first, allowed| decoder.messages(first, allowed, unread)) {
                0 => {}
                used => {
                    (done, found) = (done + used, true);
                    continue;
                }
            }
            match self.decoder.client_frame(&self.inbox.unread()[done..]) {
                Ok((used, frame)) => {
                    done += used;
                    let Some(frame) = frame else { break };
                    session.take(frame, now);
                }
                Err(error) => session.broken(error),
            }
            found = true;
        }
        if done > 0 {
            self.inbox.consume(done);
            self.inbox.handled();
        }
        found
    }
}

impl Carrier for Frames<'_> {
    fn poll_input(&mut self, cx: &mut Context<'_>, session: &mut Session<'_>) -> io::Result<bool> {
        if self.parse(session) {
            session.holds(self.inbox.held());
            return Ok(true);
        }
        if session.holds(self.inbox.held()) == Room::None {
            let waits = session.has_in_hand();
            if !waits {
                session.overloaded();
            }
            return Ok(!waits);
        }
        let Poll::Ready(read) = self.inbox.poll_read(cx, self.stream) else {
            session.holds(self.inbox.held());
            return Ok(false);
        };
        if read? == 0 {
            session.ended();
        }
        Ok(true)
    }

    fn put(&mut self, frame: &ServerFrame<'_>) {
        frame.encode(&mut self.output);
    }

    fn put_replies(&mut self, replies: &Run) {
        replies.encode_replies(&mut self.output);
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            match ready!(Pin::new(&mut *self.stream).poll_write(cx, &self.output[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.output.clear();
        self.output.shrink_to(SMALL);
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    fn grace(&self) -> Duration {
        let held = u32::try_from(self.inbox.unread().len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * held / LEAST_RATE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::MOST_HELD;
    use super::*;
    use crate::net::Addr;
    use crate::service::server::ServerConfig;
    use crate::service::store::MemoryStore;
    use crate::service::{Stop, handler::Reply};
    use crate::wire::Framing;

    /// What a client is told that has sent so much of a message of this length while the others hold so much, and how much was counted for it.
    async fn told(held: u64, length: usize, sent: usize) -> (String, u64) {
        let (config, store) = (ServerConfig::default(), Arc::new(MemoryStore::new()));
        let assured = Some(Assured::new(store.clone(), store, &config));
        let (_stopper, stopped) = Stop::new();
        let setting = Setting { assured, ..Setting::new(Arc::new(Reply("".into())), &config, stopped) };
        let assured = setting.assured.as_ref().expect("sessions");
        assured.held.store(held, Ordering::Relaxed);
        let (mut stream, mut client) = Stream::pair(4 * 1024 * 1024);
        let peer = Peer { addr: Addr::Inet(([127, 0, 0, 1], 1).into()), local: None, credentials: None };
        let mut said = format!("WILCO/1 OPEN sid=0123456789abcdef first=1 next=2\nM 1 {length}\n").into_bytes();
        said.resize(said.len() + sent, b'x');
        if sent == length {
            said.push(b'\n');
        }
        let client = async move {
            client.write_all(&said).await.expect("written");
            let (mut told, mut most) = (Vec::new(), 0);
            loop {
                let read = tokio::time::timeout(Duration::from_millis(1), client.read_buf(&mut told)).await;
                most = most.max(assured.held.load(Ordering::Relaxed) - held);
                let text = String::from_utf8_lossy(&told);
                let last = text.lines().skip(1).last().filter(|_| text.ends_with('\n')).unwrap_or_default();
                if !last.is_empty() || matches!(read, Ok(Ok(0))) || (sent < length && most >= sent as u64) {
                    return (last.to_owned(), most);
                }
            }
        };
        let inbox = Inbox::new(Framing::Line, 99);
        let (_, told) = tokio::join!(converse(&setting, assured, &mut stream, &peer, inbox), client);
        assert_eq!(assured.held.load(Ordering::Relaxed), held, "nothing is held any more");
        told
    }

    #[tokio::test]
    async fn a_message_that_is_not_whole_counts_and_ends_its_session_where_there_is_no_room() {
        let (told_room, counted) = told(0, 1_000_000, 500_000).await;
        assert_eq!(told_room, "");
        assert!((500_000..2_000_000).contains(&counted), "{counted}");
        let (told_none, counted) = told(MOST_HELD, 1_000_000, 500_000).await;
        assert_eq!(told_none, "E 503 1000 there is no room in memory for more messages");
        assert!(counted < 200_000, "{counted}");
        // What is short is taken all the same, and one alone may be as long as messages may be.
        assert_eq!(told(MOST_HELD, 1000, 1000).await.0, "A 1");
        assert_eq!(told(MOST_HELD - 1, 1_000_000, 1_000_000).await.0, "A 1");
    }
}
