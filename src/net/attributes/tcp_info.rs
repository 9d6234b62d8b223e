//! `TcpInfo`: what the kernel knows of a TCP connection (`TCP_INFO`, tcp(7)).
//!
//! Apart, because the structure grows with the kernel: it is read field by field at its offset (linux/tcp.h), and a
//! field that the kernel does not have yet is none.

use std::time::Duration;

/// The state and the measures of a TCP connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TcpInfo {
    /// The state (RFC 9293, section 3.3.2), as in `ESTABLISHED`.
    pub state: Option<&'static str>,
    /// How many times the segment that is due has been sent again.
    pub retransmits: Option<u64>,
    /// Unanswered keepalive and window probes.
    pub probes: Option<u64>,
    /// How long an acknowledgement is waited for before something is sent again.
    pub retransmit_timeout: Option<Duration>,
    /// The largest segment sent, in bytes.
    pub send_segment: Option<u64>,
    /// The largest segment received, in bytes.
    pub receive_segment: Option<u64>,
    /// Segments sent and not acknowledged; for a listener, connections that wait to be accepted.
    pub unacknowledged: Option<u64>,
    /// Segments that the peer has acknowledged out of order; for a listener, its backlog.
    pub selectively_acknowledged: Option<u64>,
    /// Segments held for lost.
    pub lost: Option<u64>,
    /// How long ago data was last sent.
    pub last_sent: Option<Duration>,
    /// How long ago data was last received.
    pub last_received: Option<Duration>,
    /// How long ago an acknowledgement was last received.
    pub last_acknowledged: Option<Duration>,
    /// The largest packet of the path, in bytes.
    pub path_mtu: Option<u64>,
    /// The smoothed round-trip time.
    pub round_trip: Option<Duration>,
    /// The mean deviation of the round-trip time.
    pub round_trip_variation: Option<Duration>,
    /// The least round-trip time seen lately.
    pub least_round_trip: Option<Duration>,
    /// The congestion window, in segments.
    pub congestion_window: Option<u64>,
    /// The congestion window where slow start ends, in segments.
    pub slow_start_threshold: Option<u64>,
    /// The window for receiving that the kernel aims at, in bytes.
    pub receive_space: Option<u64>,
    /// Segments sent again, all together.
    pub total_retransmits: Option<u64>,
    /// The rate at which it sends, in bytes a second.
    pub pacing_rate: Option<u64>,
    /// Bytes that the peer has acknowledged.
    pub bytes_acknowledged: Option<u64>,
    /// Bytes received.
    pub bytes_received: Option<u64>,
    /// Bytes sent, those sent again included.
    pub bytes_sent: Option<u64>,
    /// Bytes sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Segments sent.
    pub segments_sent: Option<u64>,
    /// Segments received.
    pub segments_received: Option<u64>,
    /// Bytes written and not sent yet.
    pub unsent: Option<u64>,
    /// The rate at which data arrived at the peer of late, in bytes a second.
    pub delivery_rate: Option<u64>,
    /// How long it had something to send.
    pub busy: Option<Duration>,
    /// How long the peer's window kept it from sending.
    pub limited_by_peer: Option<Duration>,
    /// How long the buffer for sending kept it from sending.
    pub limited_by_buffer: Option<Duration>,
    /// The window that the peer offers, in bytes.
    pub peer_window: Option<u64>,
}

impl TcpInfo {
    /// How many bytes of the structure are read: more than any kernel fills so far.
    pub(super) const MAX_LENGTH: usize = 512;

    /// Reads as much as the kernel has filled.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).map(|byte| u64::from(*byte));
        let word = |at: usize| Some(u64::from(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?)));
        let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let milliseconds = |at| word(at).map(Duration::from_millis);
        let microseconds = |at| word(at).map(Duration::from_micros);
        Self {
            state: byte(0).map(state),
            retransmits: byte(2),
            probes: byte(3),
            retransmit_timeout: microseconds(8),
            send_segment: word(16),
            receive_segment: word(20),
            unacknowledged: word(24),
            selectively_acknowledged: word(28),
            lost: word(32),
            last_sent: milliseconds(44),
            last_received: milliseconds(52),
            last_acknowledged: milliseconds(56),
            path_mtu: word(60),
            round_trip: microseconds(68),
            round_trip_variation: microseconds(72),
            slow_start_threshold: word(76).filter(|segments| *segments < NO_THRESHOLD),
            congestion_window: word(80),
            receive_space: word(96),
            total_retransmits: word(100),
            pacing_rate: long(104).filter(|rate| *rate != u64::MAX),
            bytes_acknowledged: long(120),
            bytes_received: long(128),
            segments_sent: word(136),
            segments_received: word(140),
            unsent: word(144),
            least_round_trip: microseconds(148).filter(|time| time.as_micros() != u32::MAX.into()),
            delivery_rate: long(160),
            busy: long(168).map(Duration::from_micros),
            limited_by_peer: long(176).map(Duration::from_micros),
            limited_by_buffer: long(184).map(Duration::from_micros),
            bytes_sent: long(200),
            bytes_retransmitted: long(208),
            peer_window: word(228),
        }
    }
}

/// `TCP_INFINITE_SSTHRESH`: slow start has no end yet.
const NO_THRESHOLD: u64 = 0x7fff_ffff;

/// The names of the kernel's `enum` of states (netinet/tcp.h).
fn state(number: u64) -> &'static str {
    match number {
        1 => "ESTABLISHED",
        2 => "SYN-SENT",
        3 | 12 => "SYN-RECEIVED",
        4 => "FIN-WAIT-1",
        5 => "FIN-WAIT-2",
        6 => "TIME-WAIT",
        7 => "CLOSED",
        8 => "CLOSE-WAIT",
        9 => "LAST-ACK",
        10 => "LISTEN",
        11 => "CLOSING",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        assert_eq!(TcpInfo::decode(&[]), TcpInfo::default());
        let mut bytes = vec![0; 120];
        bytes[0] = 1;
        bytes[68..72].copy_from_slice(&1500u32.to_ne_bytes());
        let short = TcpInfo::decode(&bytes);
        assert_eq!(short.state, Some("ESTABLISHED"));
        assert_eq!(short.round_trip, Some(Duration::from_micros(1500)));
        assert_eq!(short.bytes_acknowledged, None);
        bytes.resize(TcpInfo::MAX_LENGTH, 0xff);
        let long = TcpInfo::decode(&bytes);
        assert_eq!(long.bytes_acknowledged, Some(u64::MAX));
        assert_eq!(long.peer_window, Some(u32::MAX.into()));
        assert_eq!(long.least_round_trip, None);
    }

    #[test]
    fn the_offsets_are_those_of_the_structure() {
        use std::mem::offset_of;
        for (offset, expected) in [
            (offset_of!(libc::tcp_info, tcpi_rto), 8),
            (offset_of!(libc::tcp_info, tcpi_last_data_sent), 44),
            (offset_of!(libc::tcp_info, tcpi_rtt), 68),
            (offset_of!(libc::tcp_info, tcpi_snd_cwnd), 80),
            (offset_of!(libc::tcp_info, tcpi_total_retrans), 100),
        ] {
            assert_eq!(offset, expected);
        }
    }
}
