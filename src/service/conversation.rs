//! One connection of a server, from its first message to its close: read, handle, acknowledge.
//!
//! Apart from accepting: this knows one peer. All messages of a read are handled together, and all their acknowledgements
//! leave in one write.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::server::{Conversations, ServerConfig};
use super::workspace::{Inbox, READ_SIZE};
use super::{Handler, Messages, Outcome, Peer};
use crate::net::{Packet, PacketSocket, Stream, plain};
use crate::wire::{self, Framing, Span};

/// How long, and for how many bytes, a peer is read after the server has ended the conversation. Closing at once would make the kernel
/// answer what is still coming with a reset, and destroy what the peer has not read yet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_DISCARD: usize = 64 * 1024;

/// How long the beginning of a line may wait for the rest before the user is told what may be amiss.
const UNFINISHED_HINT: Duration = Duration::from_secs(2);

/// What every conversation of a server has in common.
pub(super) struct Setting {
    pub(super) handler: Arc<dyn Handler>,
    framing: Framing,
    pub(super) max_message: usize,
    /// Whether a conversation is over with its first message, as with the tutorial's server, which reads once.
    only_first: bool,
    /// The acknowledgement of a stream as it is sent, with its delimiter.
    stream_acknowledgement: Vec<u8>,
    /// The acknowledgement of a packet.
    packet_acknowledgement: Option<Bytes>,
}

impl Setting {
    pub(super) fn new(handler: Arc<dyn Handler>, config: &ServerConfig) -> Self {
        let framing = config.framing;
        let mut stream_acknowledgement = Vec::new();
        if let Some(text) = &config.acknowledgement {
            encode_text(framing, text.as_bytes(), &mut stream_acknowledgement);
        }
        Self {
            handler,
            framing,
            max_message: config.max_message.unwrap_or(framing.default_limit()),
            only_first: framing == Framing::Read && config.conversations == Conversations::One,
            stream_acknowledgement,
            packet_acknowledgement: config.acknowledgement.as_ref().map(|text| format!("{text}\n").into()),
        }
    }
}

/// What a conversation was.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Messages that were acknowledged or answered.
    pub(super) messages: u64,
    /// Whether anything came that was, or should have been, a message.
    pub(super) had_message: bool,
    /// Why it ended, if not by the peer's wish.
    trouble: Option<String>,
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.messages, if self.messages == 1 { "message" } else { "messages" })?;
        self.trouble.as_ref().map_or(Ok(()), |trouble| write!(f, ", {trouble}"))
    }
}

/// Serves one stream until the peer has ended it, something is wrong, or `stop` completes.
pub(super) async fn over_stream(
    setting: &Setting,
    mut stream: Stream,
    peer: &Peer,
    stop: impl Future<Output = ()>,
) -> Talk {
    let mut talk = Talk::default();
    if let Some(socket) = stream.socket() {
        // Acknowledgements are small and waited for. Other domains than TCP have no such option.
        let _ = socket.raw().set_tcp_nodelay(true);
    }
    let ended = read_and_handle(setting, &mut stream, peer, stop, &mut talk).await;
    if let Err(error) = &ended {
        let trouble = plain(error);
        tracing::warn!("{peer}: {trouble}");
        talk.trouble = Some(trouble);
    }
    // If the peer has gone there is nothing to wait for, and nothing to be said about it.
    let _ = timeout(CLOSE_TIMEOUT, stream.close(CLOSE_DISCARD)).await;
    talk
}

async fn read_and_handle(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    stop: impl Future<Output = ()>,
    talk: &mut Talk,
) -> io::Result<()> {
    let mut inbox = Inbox::new(setting.framing, setting.max_message);
    let mut stop = pin!(stop);
    let (mut stopping, mut hinted) = (false, false);
    loop {
        let hint_due = !hinted && inbox.unfinished() > 0 && matches!(setting.framing, Framing::Line | Framing::Nul);
        let read = tokio::select! {
            biased;
            () = &mut stop, if !stopping => {
                stopping = true;
                continue;
            }
            read = unless_idle(poll_fn(|cx| inbox.poll_read(cx, stream)), stopping) => read,
            () = tokio::time::sleep(UNFINISHED_HINT), if hint_due => {
                hinted = true;
                tracing::warn!("{peer}: sent {} bytes of a message without its end", inbox.unfinished());
                tracing::warn!("with --framing read each read is a message, with --framing whole the whole stream");
                continue;
            }
        };
        let end = match read {
            None => break,
            Some(read) => read? == 0,
        };
        talk.had_message |= !end;
        let decoded = if end { inbox.finish() } else { inbox.decode() };
        let go_on = handle(setting, &mut inbox, stream, peer, talk).await?;
        if let Err(error) = decoded {
            return refuse(setting, stream, peer, error, talk).await;
        }
        if end || !go_on || (setting.only_first && talk.had_message) {
            break;
        }
        inbox.handled();
    }
    Ok(())
}

/// Handles the messages of a read and sends their answers. Gives false if the conversation cannot go on.
async fn handle(
    setting: &Setting,
    inbox: &mut Inbox,
    stream: &mut Stream,
    peer: &Peer,
    talk: &mut Talk,
) -> io::Result<bool> {
    let Some((messages, outcomes, output)) = inbox.messages() else { return Ok(true) };
    talk.had_message = true;
    setting.handler.handle(messages, peer, outcomes).await;
    let mut go_on = true;
    for outcome in outcomes.drain(..) {
        match outcome {
            Outcome::Done => output.extend_from_slice(&setting.stream_acknowledgement),
            Outcome::Reply(reply) => setting.framing.encode(&reply, output),
            Outcome::Refuse(reason) => {
                tracing::warn!("{peer}: refused: {reason}");
                encode_text(setting.framing, wire::plain::refusal(&reason).as_bytes(), output);
                continue;
            }
            Outcome::Retry(reason) => {
                tracing::warn!("{peer}: not acknowledged: {reason}");
                talk.trouble = Some(reason);
                go_on = false;
                break;
            }
        }
        talk.messages += 1;
    }
    stream.write_all(inbox.output()).await?;
    Ok(go_on)
}

async fn refuse(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    error: wire::Error,
    talk: &mut Talk,
) -> io::Result<()> {
    tracing::warn!("{peer}: refused: {error}");
    talk.trouble = Some(error.to_string());
    let mut refusal = Vec::new();
    encode_text(setting.framing, wire::plain::refusal(&error.to_string()).as_bytes(), &mut refusal);
    stream.write_all(&refusal).await
}

/// Serves one connection of sequenced packets until the peer has ended it or `stop` completes.
pub(super) async fn over_packets(
    setting: &Setting,
    socket: &PacketSocket,
    peer: &Peer,
    stop: impl Future<Output = ()>,
) -> Talk {
    let mut talk = Talk::default();
    let mut stop = pin!(stop);
    let mut stopping = false;
    let mut buffer = vec![0; packet_buffer(setting.max_message)];
    let mut outcomes = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            () = &mut stop, if !stopping => {
                stopping = true;
                continue;
            }
            received = unless_idle(socket.recv(&mut buffer), stopping) => received,
        };
        let packet = match received {
            // A packet of no bytes is the end of the connection.
            None | Some(Ok(Packet { sent: 0, .. })) => break,
            Some(Ok(packet)) => packet,
            Some(Err(error)) => {
                talk.trouble = Some(plain(&error));
                break;
            }
        };
        talk.had_message = true;
        let Some(answer) = answer_packet(setting, &buffer, packet, peer, &mut outcomes).await else { break };
        talk.messages += u64::from(answer.counts);
        if let Some(bytes) = &answer.bytes
            && let Err(error) = socket.send(bytes).await
        {
            talk.trouble = Some(plain(&error));
            break;
        }
    }
    if let Some(trouble) = &talk.trouble {
        tracing::warn!("{peer}: {trouble}");
    }
    talk
}

/// Waits for input; a conversation that is `stopping` still takes what has arrived, and then no more.
pub(super) async fn unless_idle<T>(input: impl Future<Output = T>, stopping: bool) -> Option<T> {
    let mut input = pin!(input);
    poll_fn(|cx| match input.as_mut().poll(cx) {
        Poll::Pending if stopping => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// What a packet is answered with.
pub(super) struct Answer {
    /// The answer; none where nothing is to be said.
    pub(super) bytes: Option<Bytes>,
    /// Whether the message was handled.
    pub(super) counts: bool,
}

/// Handles one packet as one message. No answer means that it cannot be handled now.
pub(super) async fn answer_packet(
    setting: &Setting,
    buffer: &[u8],
    packet: Packet,
    peer: &Peer,
    outcomes: &mut Vec<Outcome>,
) -> Option<Answer> {
    outcomes.clear();
    let refusal = |reason: &str| {
        tracing::warn!("{peer}: refused: {reason}");
        Answer { bytes: Some(format!("{}\n", wire::plain::refusal(reason)).into()), counts: false }
    };
    let limit = if setting.max_message == 0 { usize::MAX } else { setting.max_message };
    if packet.is_cut() || packet.sent > limit {
        let limit = limit.min(buffer.len());
        return Some(refusal(&wire::Error::TooLong { limit }.to_string()));
    }
    let span = [Span { start: 0, end: packet.length }];
    setting.handler.handle(Messages::of_packets(buffer, &span), peer, outcomes).await;
    match outcomes.pop()? {
        Outcome::Done => Some(Answer { bytes: setting.packet_acknowledgement.clone(), counts: true }),
        Outcome::Reply(reply) => Some(Answer { bytes: Some(reply), counts: true }),
        Outcome::Refuse(reason) => Some(refusal(&reason)),
        Outcome::Retry(reason) => {
            tracing::warn!("{peer}: not acknowledged: {reason}");
            None
        }
    }
}

/// The buffer for packets of at most `limit` bytes (0: whatever the kernel lets through by default).
pub(super) fn packet_buffer(limit: usize) -> usize {
    const LARGEST: usize = 16 * READ_SIZE;
    if limit == 0 { LARGEST } else { limit.clamp(1, LARGEST) }
}

/// Appends a text as the peer's framing has it, ended by a newline where nothing else ends it.
fn encode_text(framing: Framing, text: &[u8], out: &mut Vec<u8>) {
    framing.encode(text, out);
    if framing == Framing::Whole {
        out.push(b'\n');
    }
}
