//! A proxy that does to a connection what networks do: ends it at a chosen byte, resets it, ends one direction, or goes silent.
//!
//! Apart from the tests, which say for each connection what becomes of it, in the order in which they come.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Towards {
    Server,
    Client,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// Both directions end.
    End,
    /// Only the direction that was counted ends.
    HalfEnd,
    /// Both sides get a reset, whatever they have not read.
    Reset,
    /// Nothing passes any more, and nobody is told.
    Silence,
}

/// What becomes of a connection after so many bytes have passed in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) towards: Towards,
    pub(crate) after: u64,
    pub(crate) how: How,
}

/// A proxy on a port of its own.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    address: SocketAddr,
    server: SocketAddr,
    cuts: Mutex<Vec<Cut>>,
    hit: AtomicUsize,
    /// How many bytes have passed, towards the server and towards the client.
    passed: [AtomicU64; 2],
    /// Connections that are silent: nobody closes them.
    kept: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// One before this server. The first connections are treated as these cuts say, all others pass.
    pub(crate) fn start(server: SocketAddr, cuts: &[Cut]) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on a free port");
        let state = Arc::new(State {
            address: listener.local_addr().expect("an address"),
            server,
            cuts: Mutex::new(cuts.iter().rev().copied().collect()),
            hit: AtomicUsize::new(0),
            passed: Default::default(),
            kept: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(shared.server) else { continue };
                let cut = shared.cuts.lock().expect("no panic with it").pop();
                let state = Arc::clone(&shared);
                thread::spawn(move || pass(&state, client, server, cut));
            }
        });
        Proxy { state }
    }

    /// Where it listens.
    pub(super) fn place(&self) -> SocketAddr {
        self.state.address
    }

    /// As an address of the client.
    pub(crate) fn address(&self) -> String {
        format!("tcp:{}", self.state.address)
    }

    /// How many connections were cut.
    pub(crate) fn hit(&self) -> usize {
        self.state.hit.load(Ordering::SeqCst)
    }

    /// How many bytes have passed that way.
    pub(crate) fn passed(&self, towards: Towards) -> u64 {
        self.state.passed[towards as usize].load(Ordering::SeqCst)
    }
}

/// Passes on what comes from either side, until there is nothing more or the connection is cut. It alone has the two sockets, so that they are closed as it says.
fn pass(state: &State, mut client: TcpStream, mut server: TcpStream, cut: Option<Cut>) {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    let mut open = [true, true];
    while open != [false, false] {
        for towards in ready(&client, &server, open) {
            let (from, to) = match towards {
                Towards::Server => (&mut client, &mut server),
                Towards::Client => (&mut server, &mut client),
            };
            let own = cut.filter(|cut| cut.towards == towards);
            let room = own.map_or(u64::MAX, |cut| cut.after - passed).min(buffer.len() as u64);
            let read = from.read(&mut buffer[..usize::try_from(room).expect("no more than the buffer")]).unwrap_or(0);
            passed += if own.is_some() { read as u64 } else { 0 };
            // Counted first: whoever is told by these bytes may ask.
            state.passed[towards as usize].fetch_add(read as u64, Ordering::SeqCst);
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
                let _ = to.shutdown(Shutdown::Write);
                open[towards as usize] = false;
            }
            match own.filter(|cut| cut.after == passed) {
                None => {}
                Some(Cut { how: How::HalfEnd, .. }) => {
                    state.hit.fetch_add(usize::from(open[towards as usize]), Ordering::SeqCst);
                    let _ = to.shutdown(Shutdown::Write);
                    open[towards as usize] = false;
                }
                Some(cut) => {
                    state.hit.fetch_add(1, Ordering::SeqCst);
                    return end(state, cut.how, client, server);
                }
            }
        }
    }
}

/// Waits until something can be read; says for which way.
fn ready(client: &TcpStream, server: &TcpStream, open: [bool; 2]) -> Vec<Towards> {
    let ways = [(Towards::Server, client), (Towards::Client, server)];
    let ways: Vec<_> = ways.into_iter().filter(|(towards, _)| open[*towards as usize]).collect();
    let mut descriptors: Vec<_> = ways.iter().map(|(_, from)| PollFd::new(from.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut descriptors, PollTimeout::NONE).expect("poll");
    let is_ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(true);
    ways.iter().zip(&descriptors).filter(|(_, descriptor)| is_ready(descriptor)).map(|((way, _), _)| *way).collect()
}

fn end(state: &State, how: How, client: TcpStream, server: TcpStream) {
    match how {
        How::End | How::HalfEnd => {
            for stream in [client, server] {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        How::Reset => {
            for stream in [client, server] {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("closing resets");
            }
        }
        How::Silence => state.kept.lock().expect("no panic with it").extend([client, server]),
    }
}
