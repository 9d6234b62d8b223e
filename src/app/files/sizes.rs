//! Sizes, rates and times as a person reads them.
//!
//! Apart, as a table that is tested: programs have `--json`, where bytes are bytes.

use std::time::Duration;

/// The units of sizes (IEC 80000-13).
const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// `3.2 GiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") };
    }
    let (mut amount, mut units) = (bytes as f64 / 1024.0, UNITS.iter());
    let mut unit = units.next();
    // What would be rounded up to 1024 has the next unit.
    while amount >= 1023.95
        && let Some(next) = units.next()
    {
        (amount, unit) = (amount / 1024.0, Some(next));
    }
    format!("{amount:.1} {}", unit.unwrap_or(&""))
}

/// `1.1 GiB/s`.
pub(super) fn rate(bytes: u64, time: Duration) -> String {
    format!("{}/s", size((bytes as f64 / time.as_secs_f64().max(0.001)) as u64))
}

/// `3 s`, `2:05`, `1:02:05`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if time.as_millis() > 0 => format!("{} ms", time.as_millis()),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_at_a_glance() {
        let table =
            [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1024 * 1024 - 1, "1.0 MiB")];
        for (bytes, text) in table.into_iter().chain([(3_435_973_836, "3.2 GiB"), (u64::MAX, "16384.0 PiB")]) {
            assert_eq!(size(bytes), text);
        }
        for (milliseconds, text) in
            [(0, "0 s"), (20, "20 ms"), (1400, "1 s"), (59_600, "1:00"), (125_000, "2:05"), (3_725_000, "1:02:05")]
        {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(rate(3 * 1024, Duration::from_secs(2)), "1.5 KiB/s");
    }
}
