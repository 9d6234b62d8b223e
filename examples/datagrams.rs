//! Datagrams: their boundaries, a buffer that is too small, an answer, and a datagram that nobody receives.
//!
//! `datagrams` needs nothing: it takes free ports of 127.0.0.1 and talks to itself.
#![allow(clippy::print_stdout)] // It is a program: what it prints is its result.

use wilco::net::Packet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // The receiver only binds: there is nothing to listen for or to accept.
    let receiver = wilco::bind("udp:127.0.0.1:0").await?;
    let address = receiver.socket().local_addr()?;

    // To connect a datagram socket sends nothing: it says where to send to and whom to hear.
    let sender = wilco::connect_packets(&format!("udp:{address}")).await?;
    sender.send(b"one").await?;
    sender.send(b"two").await?;
    sender.send(b"").await?;
    sender.send(b"a longer one").await?;

    // A receive gives one datagram, whole and alone; what does not fit is lost.
    let mut buffer = [0; 8];
    for _ in 0..4 {
        let (packet, _) = receiver.recv_from(&mut buffer).await?;
        println!("received {:?}, sent as {} bytes, cut: {}", text(&buffer, packet), packet.sent, packet.is_cut());
    }

    // The receiver knows the address of each datagram, and can answer there.
    sender.send(b"ping").await?;
    let (_, from) = receiver.recv_from(&mut buffer).await?;
    receiver.send_to(b"pong", &from).await?;
    let packet = sender.recv(&mut buffer).await?;
    println!("the answer: {:?}", text(&buffer, packet));

    // Nobody there: sending succeeds all the same, and the next call tells of the ICMP message that came back.
    drop(receiver);
    sender.send(b"anybody?").await?;
    println!("sent to nobody: no error");
    match sender.recv(&mut buffer).await {
        Ok(_) => println!("an answer, from nobody"),
        Err(error) => println!("the next receive: {}", wilco::net::plain(&error)),
    }
    Ok(())
}

fn text(buffer: &[u8], packet: Packet) -> String {
    String::from_utf8_lossy(&buffer[..packet.length]).into_owned()
}
