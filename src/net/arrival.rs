//! `Arrival`: which of this machine's addresses a datagram was sent to, so that its answer can come from there.
//!
//! Apart from ordinary receiving: a socket that is bound to every address would answer from whichever the routing table
//! prefers, and a client that has connected its socket drops what comes from another than it asked (ip(7), `IP_PKTINFO`;
//! RFC 3542, section 6).

use std::fmt;
use std::io;
use std::net::Ipv6Addr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Domain;

/// The head of a control message: its length, level and type (cmsg(3)). What follows begins behind it, and so does the next
/// message behind that, at a multiple of the size of its first field.
const WORD: usize = size_of::<usize>();
const HEAD: usize = WORD + 2 * INT;
const INT: usize = size_of::<libc::c_int>();

/// `in_pktinfo`: the interface, the local address, and the one in the header of the packet (ip(7)).
const V4_INFO: usize = size_of::<libc::in_pktinfo>();

/// `in6_pktinfo`: the address and the interface (RFC 3542, section 6).
const V6_INFO: usize = size_of::<libc::in6_pktinfo>();

/// Room for the longest answer's message.
const ROOM: usize = HEAD + V6_INFO.next_multiple_of(WORD);

/// The address that a datagram came to: the control message with which an answer leaves from there.
#[derive(Clone, Copy)]
pub struct Arrival {
    message: [u8; ROOM],
    length: usize,
}

/// Asks the kernel to tell with each datagram where it came to.
pub(super) fn tell(socket: &socket2::Socket, domain: Domain) -> nix::Result<()> {
    match domain {
        Domain::IPV6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
        _ => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
    }
}

impl Arrival {
    /// Finds it among the control messages that came with a datagram.
    pub(super) fn among(messages: &[u8]) -> Option<Self> {
        Controls(messages).find_map(|(level, kind, data)| match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let local = data.get(INT..2 * INT)?;
                // The way back is the routing table's choice: of the interface nothing is said.
                Some(Self::with(level, kind, V4_INFO, [(INT, local)]))
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let (addr, interface) = (data.first_chunk::<16>()?, data.get(16..V6_INFO)?);
                let ip = Ipv6Addr::from(*addr);
                match (ip.is_multicast(), ip.is_unicast_link_local()) {
                    // A group is an address to come to, but none to come from.
                    (true, _) => None,
                    (_, true) => Some(Self::with(level, kind, V6_INFO, [(0, &addr[..]), (16, interface)])),
                    (_, false) => Some(Self::with(level, kind, V6_INFO, [(0, &addr[..])])),
                }
            }
            _ => None,
        })
    }

    /// A message with these parts in its data, and zeroes around them.
    fn with<const N: usize>(level: libc::c_int, kind: libc::c_int, size: usize, parts: [(usize, &[u8]); N]) -> Self {
        let mut message = [0; ROOM];
        message[..WORD].copy_from_slice(&(HEAD + size).to_ne_bytes());
        message[WORD..WORD + INT].copy_from_slice(&level.to_ne_bytes());
        message[WORD + INT..HEAD].copy_from_slice(&kind.to_ne_bytes());
        for (at, part) in parts {
            message[HEAD + at..][..part.len()].copy_from_slice(part);
        }
        Self { message, length: HEAD + size.next_multiple_of(WORD) }
    }

    /// The message for the kernel.
    pub(super) fn control(&self) -> &[u8] {
        &self.message[..self.length]
    }
}

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arrival").field(&self.control()).finish()
    }
}

/// Control messages as the kernel writes them: of each its level, its type and its data.
struct Controls<'a>(&'a [u8]);

impl<'a> Iterator for Controls<'a> {
    type Item = (libc::c_int, libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, _) = self.0.split_at_checked(HEAD)?;
        let length = usize::from_ne_bytes(*head.first_chunk()?);
        let level = libc::c_int::from_ne_bytes(*head[WORD..].first_chunk()?);
        let kind = libc::c_int::from_ne_bytes(*head[WORD + INT..].first_chunk()?);
        let data = self.0.get(HEAD..length)?;
        self.0 = self.0.get(length.next_multiple_of(WORD)..).unwrap_or_default();
        Some((level, kind, data))
    }
}

/// Whether a datagram could not be sent because its source is no address to send from.
pub(super) fn is_no_source(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENETUNREACH | libc::EADDRNOTAVAIL))
}
