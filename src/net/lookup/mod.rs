//! The look-ups beside the socket calls: hosts, services, protocols, networks and DNS records.
//!
//! Apart from what connects and listens, so that each can be asked for itself. Names and text in the results come from
//! files and from other machines: whoever shows them on a terminal escapes them.

mod databases;
mod dns;
mod hosts;

use std::fmt;

pub use databases::{Network, Protocol, Service, network, protocol, service, service_name, service_port};
pub use dns::{DNS_TIMEOUT, RECORD_TYPES, Record, Srv, records, services};
pub use hosts::{Host, host, literal, numeric_host, reverse};

/// What is found shows as lines of cells; see [`Aligned`].
pub trait Lines {
    /// The cells of each line, as many in each.
    fn lines(&self) -> Vec<Vec<String>>;
}

/// Shows results one line each, or more, with their columns below each other and no newline at the end.
///
/// The `Display` of one result is this with nothing beside it.
#[derive(Clone, Copy, Debug)]
pub struct Aligned<'a, T>(pub &'a [T]);

impl<T: Lines> fmt::Display for Aligned<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<Vec<String>> = self.0.iter().flat_map(Lines::lines).collect();
        let mut widths = Vec::new();
        for line in &lines {
            widths.resize(widths.len().max(line.len()), 0);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            // Spaces are written only before a cell that has text, so that no line ends in them.
            let mut pending = 0;
            for (cell, width) in line.iter().zip(&widths).filter(|(_, width)| **width > 0) {
                if !cell.is_empty() {
                    write!(f, "{:pending$}{cell}", "")?;
                    pending = 0;
                }
                pending += width - cell.chars().count() + 2;
            }
        }
        Ok(())
    }
}

/// Gives a type that has [`Lines`] its `Display`.
macro_rules! display_lines {
    ($($type:ty),+) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&$crate::net::lookup::Aligned(std::slice::from_ref(self)), f)
            }
        }
    )+};
}
use display_lines;

#[cfg(test)]
mod tests {
    use super::*;

    struct Words(&'static [&'static str]);

    impl Lines for Words {
        fn lines(&self) -> Vec<Vec<String>> {
            vec![self.0.iter().map(|&word| word.to_owned()).collect()]
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let words = [Words(&["a", "bbb", ""]), Words(&["aaaa", "", "c"]), Words(&["\u{e9}\u{e9}", "b"])];
        assert_eq!(Aligned(&words).to_string(), "a     bbb\naaaa       c\n\u{e9}\u{e9}    b");
        assert_eq!(Aligned(&[Words(&["", "only"])]).to_string(), "only");
        assert_eq!(Aligned::<Words>(&[]).to_string(), "");
    }
}
