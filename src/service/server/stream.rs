//! One connection of a server, from its first message to its close: read, handle, acknowledge.
//!
//! Apart from accepting: this knows one peer. All messages of a read are handled together, and all their acknowledgements
//! leave in one write.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::setting::{CLOSE_TIMEOUT, Setting, Stop, Talk, check_outcomes, encode_text};
use crate::net::{Stream, plain};
use crate::service::workspace::Inbox;
use crate::service::{Outcome, Peer};
use crate::wire::{self, Framing};

/// For how many bytes a peer is read after the server has ended the conversation.
const CLOSE_DISCARD: usize = 64 * 1024;

/// How long the beginning of a line may wait for the rest before the user is told what may be amiss.
const UNFINISHED_HINT: Duration = Duration::from_secs(2);

/// Serves one stream until the peer has ended it, something is wrong, or the server is to stop.
pub(super) async fn converse(setting: &Setting, mut stream: Stream, peer: &Peer, stop: &Stop) -> Talk {
    let mut talk = Talk::default();
    let closing = match read_and_handle(setting, &mut stream, peer, stop, &mut talk).await {
        // The peer has said all: there is nothing left to be read.
        Ok(End::Theirs) => 0,
        Ok(End::Ours) => CLOSE_DISCARD,
        Err(error) => {
            let trouble = plain(&error);
            tracing::warn!("{peer}: {trouble}");
            talk.trouble = Some(trouble);
            CLOSE_DISCARD
        }
    };
    // If the peer has gone there is nothing to wait for, and nothing to be said about it.
    let _ = timeout(CLOSE_TIMEOUT, stream.close(closing)).await;
    talk
}

/// Whose wish it was that a conversation is over.
enum End {
    Theirs,
    Ours,
}

async fn read_and_handle(
    setting: &Setting,
    stream: &mut Stream,
    peer: &Peer,
    stop: &Stop,
    talk: &mut Talk,
) -> io::Result<End> {
    let mut inbox = Inbox::new(setting.framing, setting.max_message);
    let mut stopped = pin!(stop.clone().wait());
    let mut hinted = false;
    loop {
        let stopping = stop.is_set();
        let hint_due = !hinted && inbox.unfinished() > 0 && matches!(setting.framing, Framing::Line | Framing::Nul);
        let read = tokio::select! {
            biased;
            read = next_read(&mut inbox, stream, stopping) => read,
            () = &mut stopped, if !stopping => continue,
            () = async { sleep(UNFINISHED_HINT).await }, if hint_due => {
                hinted = true;
                tracing::warn!("{peer}: sent {} bytes of a message without its end", inbox.unfinished());
                tracing::warn!("with --framing read each read is a message, with --framing whole the whole stream");
                continue;
            }
        };
        let ended = match read {
            None => return Ok(End::Ours),
            Some(read) => read? == 0,
        };
        talk.had_message |= !ended;
        loop {
            let decoded = if ended { inbox.finish().map(|()| false) } else { inbox.decode() };
            let go_on = handle(setting, &mut inbox, stream, peer, talk).await?;
            inbox.handled();
            match decoded {
                Err(error) => {
                    refuse(setting, stream, peer, error, talk).await?;
                    return Ok(End::Ours);
                }
                Ok(_) if !go_on || (setting.only_first && talk.had_message) => return Ok(End::Ours),
                Ok(false) if ended => return Ok(End::Theirs),
                Ok(false) => break,
                // A read of very short messages is handled in parts, so that their outcomes stay few.
                Ok(true) => {}
            }
        }
    }
}

/// Reads once; gives nothing if the conversation is `stopping` and nothing has arrived.
async fn next_read(inbox: &mut Inbox, stream: &mut Stream, stopping: bool) -> Option<io::Result<usize>> {
    poll_fn(|cx| match inbox.poll_read(cx, stream) {
        Poll::Pending if stopping && !stream.has_input() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
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
    let count = messages.len();
    setting.handler.handle(messages, peer, outcomes).await;
    check_outcomes(outcomes, count);
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
                tracing::info!("{peer}: not acknowledged: {reason}");
                encode_text(setting.framing, wire::plain::not_now(&reason).as_bytes(), output);
                talk.trouble = Some(reason);
                go_on = false;
                break;
            }
        }
        talk.messages += 1;
    }
    let sent = stream.write_all(inbox.output()).await;
    sent.map_err(|error| io::Error::new(error.kind(), format!("the answer could not be sent: {}", plain(&error))))?;
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
