//! What passes through a [`Socket`]: send, receive, and waiting for when it can.
//!
//! Apart from the calls that make a socket what it is: these are made for every message, by tasks that wait and by those that poll.

use std::fmt;
use std::io::{self, Read};
use std::iter;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use socket2::Domain;
use tokio::io::Interest;

use super::Socket;
use crate::net::burst::{self, Burst};
use crate::net::sys::{self, Outgoing};
use crate::net::{Addr, Arrival, UnixName, arrival, trace};

/// A refused datagram makes a socket neither readable nor writable, but there is something to be received: the error.
const INPUT_OR_ERROR: Interest = Interest::READABLE.add(Interest::ERROR);

impl Socket {
    /// Ready when there is something to receive, or when that is only what the runtime still believes: wakes the last task that asked.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.io()?.poll_read_ready(cx).map_ok(drop)
    }

    /// Receives into `buffer`: recv(2). Zero bytes are the end of a stream.
    ///
    /// # Errors
    /// As recv(2) has them: a reset by the peer, a refusal that came back for a datagram.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = loop {
            let io = self.inner.io()?;
            let mut ready = ready!(io.poll_read_ready(cx))?;
            match ready.try_io(|_| uninterrupted(|| self.raw().read(buffer))) {
                Ok(received) => {
                    // What TCP had is taken, and the kernel will tell of more (epoll(7), question 9): asking would cost a call.
                    // Yet a read ends before urgent data, whatever is behind it (tcp(7)).
                    let is_inet = matches!(self.domain, Domain::IPV4 | Domain::IPV6);
                    if is_inet && received.as_ref().is_ok_and(|length| (1..buffer.len()).contains(length)) {
                        let has_been_urgent = io.try_io(Interest::PRIORITY, |_| Ok(())).is_ok();
                        if !has_been_urgent {
                            ready.clear_ready();
                        }
                    }
                    break received;
                }
                Err(_would_block) => {}
            }
        };
        Poll::Ready(trace::call(format_args!("recv({}, {} bytes)", self.fd(), buffer.len()), received))
    }

    /// Sends what the socket takes of `bytes`: send(2), without the signal for a closed connection.
    ///
    /// # Errors
    /// As send(2) has them: a reset by the peer, a packet that is too long.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(self.poll_write_io(cx, |socket| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL)));
        Poll::Ready(trace::call(format_args!("send({}, {} bytes)", self.fd(), bytes.len()), sent))
    }

    /// [`Socket::poll_send`] for those who wait.
    ///
    /// # Errors
    /// As for [`Socket::poll_send`].
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.when(Interest::WRITABLE, |socket| socket.send_with_flags(bytes, libc::MSG_NOSIGNAL)).await;
        trace::call(format_args!("send({}, {} bytes)", self.fd(), bytes.len()), sent)
    }

    /// Receives one packet of a connected socket. The length is that of the packet: more than `buffer` has if it was
    /// cut (`MSG_TRUNC`, recv(2)).
    ///
    /// # Errors
    /// As recv(2) has them; also one that came back for a packet sent before, such as a refusal.
    pub async fn recv_packet(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received =
            self.when(INPUT_OR_ERROR, |socket| socket.recv_with_flags(sys::uninit(buffer), libc::MSG_TRUNC)).await;
        trace::call(format_args!("recv({}, {} bytes)", self.fd(), buffer.len()), received)
    }

    /// [`Socket::recv_packet`] for those who poll: wakes the last task that asked.
    pub fn poll_recv_packet(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = loop {
            let mut ready = ready!(self.inner.io()?.poll_read_ready(cx))?;
            let receive = || self.raw().recv_with_flags(sys::uninit(buffer), libc::MSG_TRUNC);
            match ready.try_io(|_| uninterrupted(receive)) {
                Ok(received) => break received,
                Err(_would_block) => {}
            }
        };
        Poll::Ready(trace::call(format_args!("recv({}, {} bytes)", self.fd(), buffer.len()), received))
    }

    /// Receives one packet and says whom it is from. The length is as for [`Socket::recv_packet`].
    ///
    /// # Errors
    /// As recvfrom(2) has them.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Addr)> {
        let size = buffer.len();
        let receive = |socket: &socket2::Socket| {
            let (length, from) = socket.recv_from_with_flags(sys::uninit(buffer), libc::MSG_TRUNC)?;
            Ok((length, Addr::from_kernel(&from).unwrap_or(Addr::Unix(UnixName::Unnamed))))
        };
        let received = self.when(INPUT_OR_ERROR, receive).await;
        let call = format_args!("recvfrom({}, {size} bytes)", self.fd());
        trace::call(call, received.map(Received)).map(|Received(received)| received)
    }

    /// Receives the packets that are there: recvmmsg(2). There is at least one.
    ///
    /// # Errors
    /// As recvmsg(2) has them.
    pub async fn recv_burst(&self, burst: &mut Burst) -> io::Result<()> {
        let (places, size) = (burst.places(), burst.size());
        let received = loop {
            let mut ready = self.inner.io()?.ready(INPUT_OR_ERROR).await?;
            match ready.try_io(|_| uninterrupted(|| burst.receive(self.raw()))) {
                Ok(received) => {
                    // All of several are taken, and the kernel tells of more (epoll(7), question 9): until then they gather. Behind
                    // a single one the next is asked for at once, which costs less than to be told.
                    if received.is_ok() && (2..places).contains(&burst.received().len()) {
                        ready.clear_ready();
                    }
                    break received;
                }
                Err(_would_block) => {}
            }
        };
        let call = format_args!("recvmmsg({}, {places} x {size} bytes)", self.fd());
        trace::call(call, received.map(|()| &*burst)).map(drop)
    }

    /// Sends one packet to an address: sendto(2).
    ///
    /// # Errors
    /// As sendto(2) has them: a packet that is too long, nobody there (Unix).
    pub async fn send_to(&self, bytes: &[u8], addr: &Addr) -> io::Result<usize> {
        let kernel = addr.to_kernel()?;
        let send = |socket: &socket2::Socket| socket.send_to_with_flags(bytes, &kernel, libc::MSG_NOSIGNAL);
        let sent = self.when(Interest::WRITABLE, send).await;
        trace::call(format_args!("sendto({}, {} bytes, {addr})", self.fd(), bytes.len()), sent)
    }

    /// [`Socket::send_to`] for those who poll: wakes the last task that asked.
    pub fn poll_send_to(&self, cx: &mut Context<'_>, bytes: &[u8], addr: &Addr) -> Poll<io::Result<usize>> {
        let kernel = addr.to_kernel()?;
        let send = |socket: &socket2::Socket| socket.send_to_with_flags(bytes, &kernel, libc::MSG_NOSIGNAL);
        let sent = ready!(self.poll_write_io(cx, send));
        Poll::Ready(trace::call(format_args!("sendto({}, {} bytes, {addr})", self.fd(), bytes.len()), sent))
    }

    /// Sends one packet to an address if there is room for it now; an answer, from the address that the question came to.
    ///
    /// # Errors
    /// As for [`Socket::send_to`]; `WouldBlock` if there is no room.
    pub fn try_send_to(&self, bytes: &[u8], addr: &Addr, arrival: Option<Arrival>) -> io::Result<()> {
        let control = arrival.as_ref().map_or(&[][..], Arrival::control);
        let sent = addr.to_kernel().and_then(|to| {
            let packet = Outgoing { bytes, to: &to, control };
            self.try_send_packets(iter::once(packet)).or_else(|error| self.again(packet, error))
        });
        trace::call(format_args!("sendto({}, {} bytes, {addr})", self.fd(), bytes.len()), sent.map(|_| bytes.len()))
            .map(drop)
    }

    /// Answers packets of a burst, each of which is given by its number, if there is room for that now: sendmmsg(2). Tells of
    /// each answer in turn what has become of it: one that cannot be sent does not keep the others.
    pub fn try_answer<B: AsRef<[u8]>>(
        &self,
        burst: &Burst,
        answers: &[(usize, B)],
        mut done: impl FnMut(usize, io::Result<()>),
    ) {
        let mut next = 0;
        while let Some(rest @ [first, ..]) = answers.get(next..) {
            let sent = self.try_send_packets(rest.iter().map(|answer| burst.answer(answer)));
            match trace::call(format_args!("sendmmsg({}, {})", self.fd(), burst::Answers(burst, rest)), sent) {
                Ok(sent) => {
                    (next..next + sent).for_each(|answer| done(answer, Ok(())));
                    next += sent;
                }
                // It is that of the first.
                Err(error) => {
                    done(next, self.again(burst.answer(first), error).map(drop));
                    next += 1;
                }
            }
        }
    }

    fn try_send_packets<'a>(&self, packets: impl Iterator<Item = Outgoing<'a>> + Clone) -> io::Result<usize> {
        uninterrupted(|| sys::send_packets(self.as_fd(), packets.clone()))
    }

    /// Sends a packet once more that could not be sent for a reason that passes.
    fn again(&self, packet: Outgoing<'_>, error: io::Error) -> io::Result<usize> {
        let has_source = !packet.control.is_empty();
        let packet = match error.raw_os_error() {
            // Where such errors are reported at once (`?recverr`) it may be that of an earlier packet, and is gone now.
            Some(libc::ECONNREFUSED) => packet,
            // What came to a broadcast address cannot be answered from there.
            _ if has_source && arrival::is_no_source(&error) => Outgoing { control: &[], ..packet },
            _ => return Err(error),
        };
        self.try_send_packets(iter::once(packet))
    }

    fn poll_write_io<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(&socket2::Socket) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let mut ready = ready!(self.inner.io()?.poll_write_ready(cx))?;
            match ready.try_io(|_| uninterrupted(|| call(self.raw()))) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    /// Makes a call when the socket is ready for it, as often as it takes.
    pub(super) async fn when<T>(
        &self,
        interest: Interest,
        mut call: impl FnMut(&socket2::Socket) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let mut ready = self.inner.io()?.ready(interest).await?;
            match ready.try_io(|_| uninterrupted(|| call(self.raw()))) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

/// Makes a call again that a signal has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A received packet, for a trace that shows its length and sender.
struct Received((usize, Addr));

impl trace::Shown for Received {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, from) = &self.0;
        write!(f, "{length} (from {from})")
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_is_behind_urgent_data_is_received_too() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let theirs = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (ours, _) = listener.accept().expect("accept");
        let ours = Socket::from_fd(OwnedFd::from(ours)).expect("a socket");
        let theirs = socket2::SockRef::from(&theirs);
        theirs.send(b"one").expect("send");
        theirs.send_out_of_band(b"!").expect("send urgently");
        theirs.send(b"two").expect("send");
        let mut buffer = [0; 100];
        for expected in [b"one", b"two"] {
            // The kernel never joins what is before the urgent byte and what is behind it.
            let received = timeout(Duration::from_secs(10), poll_fn(|cx| ours.poll_recv(cx, &mut buffer))).await;
            let length = received.expect("there is more").expect("received");
            assert_eq!(&buffer[..length], expected);
        }
    }
}
