//! What a datagram is answered by a simple service, and whether it is.
//!
//! Apart, because here the sender's address may be forged: these services have been used to flood others, and to have two
//! servers answer each other for ever.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Standard, StandardService};
use crate::net::Addr;
use crate::service::Peer;

/// Ports from which a simple service would answer the answer: echo, systat, daytime, qotd, chargen, time. There is no port 0 to
/// answer to.
const ANSWERING: [u32; 7] = [0, 7, 11, 13, 17, 19, 37];

/// What a packet has room for, whatever it carries: the smallest Ethernet frame has 46 bytes, of which IPv4 and UDP take 28. An
/// answer up to this is not longer than any request.
const LEAST: usize = 18;

/// The answer to a datagram; none where nothing is to be said, or to be sent to whoever may be at that address.
///
/// The sender of a datagram from another machine is not known to be where its address says. It is answered with no more than it
/// has sent, or [`LEAST`]: a line of chargen is cut to that, and another answer that is longer is not given. On this machine, nobody
/// but root can forge an address, and the answer is whole.
pub(super) fn answer(standard: &Standard, request: &[u8], peer: &Peer) -> Option<Bytes> {
    if standard.service == StandardService::Discard || would_loop(peer) {
        return None;
    }
    if standard.service == StandardService::Echo {
        return Some(Bytes::copy_from_slice(request));
    }
    let mut answer = standard.answer();
    let most = if is_local(&peer.addr) { usize::MAX } else { request.len().max(LEAST) };
    match standard.service {
        StandardService::Chargen => answer.truncate(most),
        _ if answer.len() > most => {
            if !standard.told.swap(true, Ordering::Relaxed) {
                let (name, needed, had) = (standard.service, answer.len(), request.len());
                tracing::warn!(
                    "{peer}: not answered, for the sender's address may be forged: a request for {name} has to be as long as its answer, {needed} bytes, and has {had}"
                );
            }
            return None;
        }
        _ => {}
    }
    Some(answer.into())
}

/// Whether at the address there may be another service that answers whatever comes: by its port, or because it has the same as
/// this one.
fn would_loop(peer: &Peer) -> bool {
    let Addr::Inet(from) = &peer.addr else { return false };
    let port = u32::from(from.port());
    let own = peer.local.as_ref().and_then(Addr::port);
    let loops = ANSWERING.contains(&port) || own == Some(port);
    if loops {
        tracing::debug!("{peer}: not answered, for it might answer the answer");
    }
    loops
}

/// Whether a datagram can only have come from this machine: the kernel takes no loopback address from a network.
fn is_local(addr: &Addr) -> bool {
    match addr {
        Addr::Inet(from) => from.ip().to_canonical().is_loopback(),
        Addr::Unix(_) => true,
        Addr::Vsock { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::net::UnixName;

    const AWAY: &str = "192.0.2.7:40000";

    fn clock() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_226_066)
    }

    fn from(addr: &str) -> Peer {
        let addr = Addr::Inet(addr.parse().expect("an address"));
        Peer { addr, local: Some(Addr::Inet("[::]:5007".parse().expect("an address"))), credentials: None }
    }

    fn length(service: StandardService, request: &[u8], peer: &Peer) -> Option<usize> {
        answer(&Standard::with_clock(service, clock), request, peer).map(|answer| answer.len())
    }

    #[test]
    fn nobody_gets_more_than_was_sent_unless_the_address_is_true() {
        use StandardService::{Chargen, Daytime, Discard, Echo, Qotd, Time};
        let long = [b'.'; 511];
        for (service, request, away, here) in [
            (Echo, &long[..0], Some(0), Some(0)),
            (Echo, &long[..511], Some(511), Some(511)),
            (Discard, &long[..511], None, None),
            (Time, &long[..0], Some(4), Some(4)),
            (Daytime, &long[..0], None, Some(26)),
            (Daytime, &long[..25], None, Some(26)),
            (Daytime, &long[..26], Some(26), Some(26)),
            (Qotd, &long[..1], None, Some(30)),
            (Qotd, &long[..30], Some(30), Some(30)),
            (Chargen, &long[..0], Some(LEAST), Some(74)),
            (Chargen, &long[..40], Some(40), Some(74)),
            (Chargen, &long[..511], Some(74), Some(74)),
        ] {
            let what = format!("{service} of {} bytes", request.len());
            assert_eq!(length(service, request, &from(AWAY)), away, "{what}");
            for local in ["127.0.0.1:40000", "[::1]:40000", "[::ffff:127.0.0.1]:40000"] {
                assert_eq!(length(service, request, &from(local)), here, "{what} from {local}");
            }
            let unix = Peer { addr: Addr::Unix(UnixName::Abstract(b"x".to_vec())), local: None, credentials: None };
            assert_eq!(length(service, request, &unix), here, "{what} from the Unix domain");
        }
    }

    #[test]
    fn ports_that_would_answer_the_answer_get_none() {
        for service in StandardService::ALL.map(|(_, service)| service) {
            for port in ANSWERING.iter().chain(&[5007]) {
                assert_eq!(
                    length(service, &[b'.'; 511], &from(&format!("127.0.0.1:{port}"))),
                    None,
                    "{service} {port}"
                );
            }
        }
        assert_eq!(length(StandardService::Echo, b"x", &from("127.0.0.1:53")), Some(1));
    }

    #[test]
    fn each_line_of_chargen_and_each_quote_has_its_turn() {
        let peer = from("127.0.0.1:40000");
        for service in [StandardService::Chargen, StandardService::Qotd] {
            let standard = Standard::with_clock(service, clock);
            assert_ne!(answer(&standard, b"", &peer), answer(&standard, b"", &peer));
        }
        let standard = Standard::with_clock(StandardService::Chargen, clock);
        assert_eq!(answer(&standard, b"", &peer).expect("a line")[..], super::super::chargen::line(0));
    }
}
