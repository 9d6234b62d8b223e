//! One connection of a server, from its first message to its close: read, handle, acknowledge.
//!
//! Apart from accepting: this knows one peer. All messages of a read are handled together, and all their acknowledgements
//! leave in one write.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::setting::{Setting, Talk, encode_text, unless_idle};
use crate::net::{Stream, plain};
use crate::service::workspace::Inbox;
use crate::service::{Outcome, Peer};
use crate::wire::{self, Framing};

/// How long, and for how many bytes, a peer is read after the server has ended the conversation. Closing at once would make the kernel
/// answer what is still coming with a reset, and destroy what the peer has not read yet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
const CLOSE_DISCARD: usize = 64 * 1024;

/// How long the beginning of a line may wait for the rest before the user is told what may be amiss.
const UNFINISHED_HINT: Duration = Duration::from_secs(2);

/// Serves one stream until the peer has ended it, something is wrong, or `stop` completes.
pub(super) async fn converse(
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
