//! What was measured, as a JSON object a part, every number with its unit in its name.
//!
//! Apart from the table, whose form may change: these names stay.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::service::bench::{End, Latencies, Measured, PERCENTILES, Plan};

/// The object of a part, and a newline.
pub(super) fn line(measured: &Measured, address: &str, plan: &Plan) -> String {
    let (part, found) = match measured {
        Measured::RoundTrip(found) => (
            "round-trip",
            json!({ "answered": found.answered, "lost": found.lost, "target_rate_per_s": found.target_rate,
                "elapsed_s": found.elapsed.as_secs_f64(), "rate_per_s": found.rate(), "latency": times(&found.latencies) }),
        ),
        Measured::Connections(found) => (
            "connections",
            json!({ "connections": found.connections, "answered": found.answered, "lost": found.lost,
                "elapsed_s": found.elapsed.as_secs_f64(), "rate_per_s": found.rate(), "latency": times(&found.latencies) }),
        ),
        Measured::Pipelined(found) => (
            "pipelined",
            json!({ "sent": found.sent, "answered": found.answered, "lost": found.lost(), "window": found.window,
                "elapsed_s": found.elapsed.as_secs_f64(), "rate_per_s": found.rate() }),
        ),
        Measured::Connect(found) => (
            "connect",
            json!({ "clients": found.clients, "connections": found.connections, "ended_for_want_of_ports": found.end == End::NoMorePorts,
                "elapsed_s": found.elapsed.as_secs_f64(), "rate_per_s": found.rate(), "latency": times(&found.latencies) }),
        ),
        Measured::Bulk(found) => (
            "bulk",
            json!({ "sent_bytes": found.sent, "received_bytes": found.received, "elapsed_s": found.elapsed.as_secs_f64(),
                "sent_bytes_per_s": found.sent_rate(), "received_bytes_per_s": found.received_rate() }),
        ),
        Measured::Idle(found) => (
            "idle",
            json!({ "connections": found.connections, "elapsed_s": found.elapsed.as_secs_f64(),
                "memory_before_bytes": found.memory.map(|(before, _)| before.bytes),
                "memory_after_bytes": found.memory.map(|(_, after)| after.bytes),
                "memory_per_connection_bytes": found.bytes_per_connection() }),
        ),
    };
    let mut object = Map::new();
    object.insert("part".to_owned(), part.into());
    object.insert("address".to_owned(), address.into());
    object.insert("size_bytes".to_owned(), plan.size.into());
    if let Value::Object(found) = found {
        for (name, value) in found {
            match value {
                // The times stand beside the rest.
                Value::Object(times) => object.extend(times),
                Value::Null => {}
                value => drop(object.insert(name, value)),
            }
        }
    }
    format!("{}\n", Value::Object(object))
}

fn times(latencies: &Latencies) -> Value {
    let micros = |time: Duration| Value::from((time.as_secs_f64() * 1e9).round() / 1e3);
    let mut times = Map::new();
    for percentile in PERCENTILES {
        let name = percentile.to_string().replace('.', "_");
        times.insert(format!("p{name}_us"), micros(latencies.percentile(percentile)));
    }
    times.insert("max_us".to_owned(), micros(latencies.max()));
    times.insert("mean_us".to_owned(), micros(latencies.mean()));
    Value::Object(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::bench::{Bulk, Idle, Memory, Pipelined, RoundTrip};

    fn object(measured: &Measured) -> Value {
        let line = line(measured, "tcp:a:1", &Plan::default());
        assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn every_number_has_its_unit() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_micros(16));
        let elapsed = Duration::from_millis(500);
        let found = RoundTrip { answered: 1, elapsed, latencies, ..RoundTrip::default() };
        let round_trip = object(&Measured::RoundTrip(found));
        assert_eq!(round_trip["part"], "round-trip");
        assert_eq!(round_trip["address"], "tcp:a:1");
        assert_eq!(round_trip["rate_per_s"], 2.0);
        for name in ["p50_us", "p90_us", "p99_us", "p99_9_us", "max_us"] {
            let micros = round_trip[name].as_f64().expect("a number");
            assert!((micros - 16.0).abs() < 0.1, "{name}: {micros}");
        }
        assert!(round_trip.get("target_rate_per_s").is_none(), "what was not asked for is left out");
        let pipelined = Pipelined { sent: 5, answered: 4, window: 8, elapsed };
        assert_eq!(object(&Measured::Pipelined(pipelined))["lost"], 1);
        let bulk = object(&Measured::Bulk(Bulk { sent: 10, received: 4, elapsed }));
        assert_eq!((bulk["sent_bytes_per_s"].as_f64(), bulk["received_bytes"].as_u64()), (Some(20.0), Some(4)));
        let memory = |bytes| Memory { bytes, processes: 1 };
        let idle = Idle { connections: 4, elapsed, memory: Some((memory(1000), memory(5000))) };
        assert_eq!(object(&Measured::Idle(idle))["memory_per_connection_bytes"], 1000.0);
    }
}
