//! What must hold for any datagram that claims to be of assured delivery.
//!
//! Apart from the streams: here is one packet at a time.

use crate::wire::assured::datagram::{ClientPacket, OPEN_LENGTH, ServerPacket};

/// Bytes are a packet or are refused, from either side; what is read, written again, reads as the same, and an answer keeps to the length that it may have.
pub fn packet(bytes: &[u8]) {
    if let Ok(packet) = ClientPacket::parse(bytes) {
        let mut written = Vec::new();
        packet.encode(&mut written);
        match (&packet, ClientPacket::parse(&written)) {
            // Names that are too long when they are written strictly are left out.
            (ClientPacket::Open { open, .. }, Ok(ClientPacket::Open { open: read, .. })) => {
                assert_eq!((&open.session, open.first, open.next), (&read.session, read.first, read.next));
            }
            (packet, read) => assert_eq!(read.as_ref(), Ok(packet)),
        }
        if matches!(packet, ClientPacket::Open { .. }) {
            assert!(written.len() >= OPEN_LENGTH, "{} bytes", written.len());
        }
    }
    if let Ok(packet) = ServerPacket::parse(bytes) {
        let mut written = Vec::new();
        packet.encode(&mut written);
        // What is for people may have lost characters that are none; what is left stays as it is.
        let read = ServerPacket::parse(&written).expect("what was written is a packet");
        let mut again = Vec::new();
        read.encode(&mut again);
        assert_eq!(again, written);
        for limit in [0, 20, 60, 100, OPEN_LENGTH] {
            let mut short = Vec::new();
            assert_eq!(packet.encode_within(limit, &mut short), !short.is_empty());
            assert!(short.len() <= limit, "{} bytes of {limit}", short.len());
        }
    }
}
