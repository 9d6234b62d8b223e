//! `Arrival`: which of this machine's addresses a datagram was sent to, so that its answer can come from there.
//!
//! Apart from ordinary receiving: a socket that is bound to every address would answer from whichever the routing table
//! prefers, and a client that has connected its socket drops what comes from another than it asked (ip(7), `IP_PKTINFO`;
//! RFC 3542, section 6).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::Domain;

/// The address that a datagram came to.
#[derive(Clone, Copy, Debug)]
pub struct Arrival(Info);

#[derive(Clone, Copy, Debug)]
enum Info {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// Asks the kernel to tell with each datagram where it came to.
pub(super) fn tell(socket: &socket2::Socket, domain: Domain) -> nix::Result<()> {
    match domain {
        Domain::IPV6 => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
        _ => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
    }
}

/// Receives a datagram of the Internet domain: its length on the way, where it came from and, if the kernel tells, where to.
pub(super) fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<Arrival>)> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_TRUNC;
    let received = recvmsg::<SockaddrStorage>(socket.as_fd().as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
    let arrival = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Arrival(Info::V4(info))),
        // A group is an address to come to, but none to come from.
        ControlMessageOwned::Ipv6PacketInfo(info) if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_multicast() => {
            Some(Arrival(Info::V6(info)))
        }
        _ => None,
    });
    let from = received.address.and_then(|addr| {
        let v4 = addr.as_sockaddr_in().map(|addr| SocketAddr::V4(SocketAddrV4::new(addr.ip(), addr.port())));
        v4.or_else(|| addr.as_sockaddr_in6().map(|addr| SocketAddr::V6(SocketAddrV6::from(*addr))))
    });
    let from = from.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a datagram without a sender"))?;
    Ok((received.bytes, from, arrival))
}

/// Sends a datagram from the address that another came to.
pub(super) fn answer(socket: &socket2::Socket, bytes: &[u8], to: SocketAddr, arrival: Arrival) -> io::Result<usize> {
    let to = match to {
        SocketAddr::V4(to) => SockaddrStorage::from(to),
        SocketAddr::V6(to) => SockaddrStorage::from(to),
    };
    let send = |control: ControlMessage<'_>| {
        let (fd, flags) = (socket.as_fd().as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        Ok(sendmsg(fd, &[IoSlice::new(bytes)], &[control], flags, Some(&to))?)
    };
    match arrival.0 {
        // The way back is the routing table's choice; only the address is given.
        Info::V4(info) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo { ipi_ifindex: 0, ..info })),
        Info::V6(info) if Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() => {
            send(ControlMessage::Ipv6PacketInfo(&info))
        }
        Info::V6(info) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_ifindex: 0, ..info })),
    }
}

/// Whether a datagram could not be sent because its source is no address to send from.
pub(super) fn is_no_source(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENETUNREACH | libc::EADDRNOTAVAIL))
}
