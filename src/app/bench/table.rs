//! What was measured, as lines of a table for people.
//!
//! Apart from JSON, where every number has its name and its unit: here a column holds what can be compared.

use std::time::Duration;

use crate::service::bench::{BULK_LINE, Connect, End, Latencies, Measured, PERCENTILES, Plan};

/// The widths of the columns: what, how many a second, then the times.
const WHAT: usize = 24;
const RATE: usize = 16;
const TIME: usize = 10;

/// The lines above those of an address.
pub(super) fn head(address: &str, plan: &Plan) -> String {
    let times = PERCENTILES.iter().map(|percentile| format!("p{percentile}")).chain(["max".to_owned()]);
    let times: String = times.map(|title| format!("{title:>TIME$}")).collect();
    let (size, seconds) = (plan.size, plan.duration.as_secs_f64());
    format!("{address}, messages of {size} bytes, {seconds} s a part\n{:WHAT$}{:>RATE$}{times}\n", "", "rate")
}

/// The line of a part.
pub(super) fn row(measured: &Measured) -> String {
    let (what, rate, rest) = match measured {
        Measured::RoundTrip(found) => {
            let what = found.target_rate.map(|rate| format!("round trip at {}/s", amount(rate)));
            let rest = times(&found.latencies) + &lost(found.lost);
            (what.unwrap_or_else(|| "round trip".to_owned()), messages(found.rate()), rest)
        }
        Measured::Connections(found) => {
            let rest = times(&found.latencies) + &lost(found.lost);
            (format!("{} connections", found.connections), messages(found.rate()), rest)
        }
        Measured::Pipelined(found) => {
            (format!("pipelined, {} at once", found.window), messages(found.rate()), lost(found.lost()))
        }
        Measured::Connect(found) => {
            (connect(found), messages(found.rate()), times(&found.latencies) + ended(found.end))
        }
        Measured::Bulk(found) => {
            let back = format!("  {} came back", bytes(found.received_rate()));
            let what = format!("bulk, lines of {}K", BULK_LINE / 1024);
            (what, bytes(found.sent_rate()), back)
        }
        Measured::Idle(found) => {
            let rest = found.memory.map(|(before, after)| {
                let processes = after.processes - before.processes.min(after.processes);
                let more = if processes > 0 { format!(", {processes} processes more") } else { String::new() };
                format!(
                    "  {} KiB of the server before, {} KiB with them{more}",
                    before.bytes / 1024,
                    after.bytes / 1024
                )
            });
            let cost = found.bytes_per_connection().map(|bytes| format!("{:.1} KiB each", bytes / 1024.0));
            let rest = rest.unwrap_or_else(|| format!("  held; opened in {}", time(found.elapsed)));
            (format!("{} idle connections", found.connections), cost.unwrap_or_default(), rest)
        }
    };
    format!("{what:<WHAT$}{rate:>RATE$}{rest}\n")
}

fn connect(found: &Connect) -> String {
    match found.clients {
        1 => "connect".to_owned(),
        clients => format!("connect, {clients} clients"),
    }
}

fn ended(end: End) -> &'static str {
    match end {
        End::Time => "",
        End::NoMorePorts => "  ended early: no more free ports",
    }
}

fn lost(lost: u64) -> String {
    if lost > 0 { format!("  {lost} lost") } else { String::new() }
}

fn messages(rate: f64) -> String {
    format!("{}/s", amount(rate))
}

fn bytes(rate: f64) -> String {
    if rate < 1e3 { format!("{rate:.0} B/s") } else { format!("{}B/s", amount(rate)) }
}

fn times(latencies: &Latencies) -> String {
    let times = PERCENTILES.iter().map(|percentile| latencies.percentile(*percentile)).chain([latencies.max()]);
    times.map(|latency| format!("{:>TIME$}", time(latency))).collect()
}

/// A time with three digits or more and its unit.
pub(super) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (number, unit) = match micros {
        ..1e3 => (micros, "us"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", digits(number))
}

/// A number with three digits and the letter of its thousands: `58.1 k`.
pub(super) fn amount(number: f64) -> String {
    let (number, letter) = match number {
        ..1e3 => (number, ""),
        ..1e6 => (number / 1e3, " k"),
        ..1e9 => (number / 1e6, " M"),
        _ => (number / 1e9, " G"),
    };
    format!("{}{letter}", digits(number))
}

fn digits(number: f64) -> String {
    match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::bench::{Bulk, Connections, Idle, Memory, Pipelined, RoundTrip};

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [(500, "0.50 us"), (15_700, "15.7 us"), (999_000, "999 us"), (1_234_000, "1.23 ms")];
        for (nanoseconds, shown) in times {
            assert_eq!(time(Duration::from_nanos(nanoseconds)), shown);
        }
        for (number, shown) in [(12.0, "12.0"), (58_123.0, "58.1 k"), (45e6, "45.0 M"), (7.12e9, "7.12 G")] {
            assert_eq!(amount(number), shown);
        }
    }

    #[test]
    fn each_part_is_a_line_below_the_head() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        let elapsed = Duration::from_secs(1);
        let round_trip = RoundTrip { answered: 1000, elapsed, latencies: latencies.clone(), ..RoundTrip::default() };
        let connections =
            Connections { connections: 64, answered: 1000, lost: 3, elapsed, latencies: latencies.clone() };
        let memory = |bytes, processes| Memory { bytes, processes };
        let idle = Idle { connections: 100, elapsed, memory: Some((memory(1024, 1), memory(103_424, 101))) };
        let table: [(Measured, &str); 7] = [
            (
                Measured::RoundTrip(round_trip),
                "round trip                      1.00 k/s    500 us    900 us    990 us    1.00 ms   1.00 ms\n",
            ),
            (
                Measured::Connections(connections),
                "64 connections                  1.00 k/s    500 us    900 us    990 us    1.00 ms   1.00 ms  3 lost\n",
            ),
            (
                Measured::Pipelined(Pipelined { sent: 45_000_000, answered: 45_000_000, window: 2048, elapsed }),
                "pipelined, 2048 at once         45.0 M/s\n",
            ),
            (
                Measured::Connect(Connect { clients: 8, connections: 10, end: End::NoMorePorts, elapsed, latencies }),
                "connect, 8 clients              10.0/s    500 us    900 us    990 us    1.00 ms   1.00 ms  \
                 ended early: no more free ports\n",
            ),
            (
                Measured::Bulk(Bulk { sent: 7_120_000_000, received: 0, elapsed }),
                "bulk, lines of 32K             7.12 GB/s  0 B/s came back\n",
            ),
            (
                Measured::Idle(idle),
                "100 idle connections        1.0 KiB each  1 KiB of the server before, 101 KiB with them, 100 processes more\n",
            ),
            (
                Measured::Idle(Idle { connections: 100, elapsed, memory: None }),
                "100 idle connections                      held; opened in 1.00 s\n",
            ),
        ];
        for (measured, shown) in table {
            let flat = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(flat(&row(&measured)), flat(shown));
        }
        let head = head("tcp:51717", &Plan::default());
        assert!(head.starts_with("tcp:51717, messages of 64 bytes, 2 s a part\n"), "{head}");
        let round = row(&Measured::RoundTrip(RoundTrip::default()));
        assert_eq!(
            head.lines().nth(1).map(str::len),
            Some(round.trim_end_matches('\n').len()),
            "columns: {head}{round}"
        );
    }
}
