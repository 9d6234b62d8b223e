//! Chargen: lines of 72 of the 95 printable characters, each line beginning one character later (RFC 864).
//!
//! Apart from what has an end: this one goes on until the peer does not want more, at the speed at which it reads.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::carrier::{End, poll_read, poll_write};
use crate::net::Connection;
use crate::service::alarm::Alarm;
use crate::service::handler::Terms;
use crate::service::handler::buffer::with_input;

/// The printable characters, from the space to the tilde.
const FIRST: u8 = b' ';
const PRINTABLE: usize = 95;

/// The characters of a line, and its bytes with CRLF.
const CHARACTERS: usize = 72;
pub(super) const LINE: usize = CHARACTERS + 2;

/// After so many bytes the first line comes again.
const ROUND: usize = PRINTABLE * LINE;

/// How many rounds are in the block: as much as one write takes.
const ROUNDS: usize = 9;

/// The lines as they are sent, made once.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| (0..PRINTABLE * ROUNDS).flat_map(line).collect());

/// The line of a number, the first being 0, with its CRLF.
pub(super) fn line(number: usize) -> [u8; LINE] {
    let mut line = [0; LINE];
    let mut letters = (FIRST..).take(PRINTABLE).cycle().skip(number % PRINTABLE);
    line.fill_with(|| letters.next().unwrap_or(FIRST));
    line[CHARACTERS..].copy_from_slice(b"\r\n");
    line
}

/// Writes until the peer closes, takes nothing for too long, or the server is to stop: then to the end of the line. What the
/// peer sends is dropped; that it has ended its side says nothing about the other.
///
/// # Errors
/// The peer has gone, or reads nothing.
pub(super) async fn converse(connection: &mut Connection, terms: &Terms) -> io::Result<End> {
    let mut stopped = pin!(terms.stop.wait());
    let mut stopping = false;
    let mut position = 0;
    let mut reading = true;
    let mut last = Instant::now();
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        let mut moved = false;
        loop {
            let end = match (&*connection, stopping) {
                (_, true) if position % LINE == 0 => return Poll::Ready(Ok(End::Ours)),
                (_, true) => position.next_multiple_of(LINE),
                // One line is one packet.
                (Connection::Packets(_), false) => position + LINE,
                (Connection::Stream(_), false) => BLOCK.len(),
            };
            match poll_write(connection, cx, &BLOCK[position..end]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    position = (position + written) % ROUND;
                    moved = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if stopping => break,
                Poll::Pending => {
                    stopping = stopped.as_mut().poll(cx).is_ready();
                    if !stopping {
                        break;
                    }
                }
            }
        }
        if reading {
            reading = drop_input(connection, cx);
        }
        if moved {
            last = Instant::now();
        }
        let due = terms.write_timeout.and_then(|limit| last.checked_add(limit));
        alarm.poll(cx, due).map(|()| Err(Terms::reads_nothing()))
    })
    .await
}

/// Reads what has come, and says whether there may be more: a peer that sends should not wait until it is read.
fn drop_input(connection: &mut Connection, cx: &mut Context<'_>) -> bool {
    with_input(|input| {
        loop {
            match poll_read(connection, cx, input) {
                // What is amiss the writing will tell.
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return true,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str =
        " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

    #[test]
    fn each_line_begins_one_character_later() {
        assert_eq!(ALL.len(), PRINTABLE);
        assert_eq!(line(0)[..], *format!("{}\r\n", &ALL[..72]).as_bytes());
        assert_eq!(line(1)[..], *format!("{}\r\n", &ALL[1..73]).as_bytes());
        // The last ones go around.
        assert_eq!(line(94)[..], *format!("~{}\r\n", &ALL[..71]).as_bytes());
        assert_eq!(line(95), line(0));
    }

    #[test]
    fn the_block_goes_on_where_it_ends() {
        assert_eq!(BLOCK.len(), ROUND * ROUNDS);
        for (number, sent) in BLOCK.chunks(LINE).enumerate() {
            assert_eq!(sent, line(number), "line {number}");
        }
    }
}
