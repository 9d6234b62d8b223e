//! Wilco: a client and a server that talk over any socket.
pub mod net;
