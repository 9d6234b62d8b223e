//! How the values of arguments are read: sizes, times, framings, rates, access rules, services.

use std::env::VarError;
use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::net::Error;
use crate::net::options::{parse_size, parse_time};
use crate::service::StandardService;
use crate::service::access::Rule;
use crate::service::bench::SIZES;
use crate::service::limits::Rate;
use crate::service::store::StoreAddress;
use crate::service::store::jetstream::Secrets;
use crate::wire::assured::Level;
use crate::wire::{Framing, is_harmless};

/// The longest name of a server: that of a host can be as long (hostname(7)).
const LONGEST_NAME: usize = 64;

/// The longest name of work over a store, of which the name of a file is made.
const MAX_WORK_NAME: usize = 64;

/// One of the simple services, by names that help and completions know.
pub(super) fn service() -> impl TypedValueParser<Value = StandardService> {
    PossibleValuesParser::new(StandardService::ALL.map(|(name, _)| name))
        .try_map(|name| name.parse::<StandardService>())
}

/// A store: a file, or a stream of NATS, of which the environment may say who opens it.
pub(super) fn store() -> impl TypedValueParser<Value = StoreAddress> {
    StoreParser
}

/// Reads a [`StoreAddress`], and keeps what is wrong with it free of its secrets.
#[derive(Clone)]
struct StoreParser;

impl TypedValueParser for StoreParser {
    type Value = StoreAddress;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<StoreAddress, clap::Error> {
        let read = StoreAddress::of(value).and_then(|mut store| {
            if let StoreAddress::JetStream(address) = &mut store {
                environment()?.complete(address)?;
            }
            Ok(store)
        });
        read.map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{}\n", described(&error))).with_cmd(command)
        })
    }
}

/// Who somebody is to NATS, as far as the environment says so.
fn environment() -> Result<Secrets, Error> {
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::usage(format!("what {name} is set to is no text"))),
    };
    let creds = std::env::var_os("WILCO_NATS_CREDS").filter(|value| !value.is_empty()).map(Into::into);
    let (user, password) = (variable("WILCO_NATS_USER")?, variable("WILCO_NATS_PASSWORD")?);
    Ok(Secrets { user, password, token: variable("WILCO_NATS_TOKEN")?, creds })
}

pub(super) fn framing(name: &str) -> Result<Framing, String> {
    name.parse()
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let size = parse_size(text).map_err(|error| described(&error))?;
    usize::try_from(size).map_err(|_| format!("`{text}` is more than this machine can address"))
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).map_err(|error| described(&error))
}

pub(super) fn rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|error| described(&error))
}

pub(super) fn rule(text: &str) -> Result<Rule, String> {
    text.parse().map_err(|error| described(&error))
}

/// Permissions of a file, as chmod(1) takes their number.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| format!("`{text}` are no permissions: write them as an octal number, such as 0660"))
}

/// What an acknowledgement is to stand for, by the names that it has in the protocol.
pub(super) fn level() -> impl TypedValueParser<Value = Level> {
    // The most comes first, as in the protocol's own list. What stands for files is asked for by sending one.
    let names = Level::ALL.into_iter().filter(|(level, _)| *level <= Level::Stored).map(|(_, name)| name);
    PossibleValuesParser::new(names.rev())
        .map(|name| Level::ALL.iter().find(|(_, known)| *known == name).map_or(Level::Stored, |(level, _)| *level))
}

/// What a server calls itself: one line, which others are shown.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.chars().all(is_harmless) && (1..=LONGEST_NAME).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!("a name has 1 to {LONGEST_NAME} bytes of text, on one line")),
    }
}

/// The most threads that a server can be given: more than any machine has processors for.
const MAX_WORKERS: usize = 1024;

/// What a file can be named by.
pub(super) fn work(text: &str) -> Result<String, String> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    match (1..=MAX_WORK_NAME).contains(&text.len()) && text.chars().all(is_letter) && !text.starts_with('.') {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("a name has 1 to {MAX_WORK_NAME} letters, digits, `.`, `_` and `-`, and begins with no dot"))
        }
    }
}

/// How many threads, or commands at once.
pub(super) fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=MAX_WORKERS) => Ok(count),
        _ => Err(format!("a number from 1 to {MAX_WORKERS} is wanted")),
    }
}

/// How many, at least one.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 up is wanted".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// The size of a message that is measured with.
pub(super) fn message_size(text: &str) -> Result<usize, String> {
    let size = size(text)?;
    match SIZES.contains(&size) {
        true => Ok(size),
        false => {
            Err(format!("a message has {} to {} bytes; bulk is measured with --only bulk", SIZES.start(), SIZES.end()))
        }
    }
}

/// So many a second: `250`, `250/s`, `10K/s` (10,000).
pub(super) fn frequency(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let (digits, unit) = match number.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&number[..at], 1e3),
        Some((at, 'm' | 'M')) => (&number[..at], 1e6),
        _ => (number, 1.0),
    };
    let rate = digits.parse::<f64>().ok().map(|rate| rate * unit);
    rate.filter(|rate| (1e-3..=1e9).contains(rate)).ok_or_else(|| "write so many a second: 250/s, 10K/s".to_owned())
}

fn described(error: &Error) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_on_one_line() {
        for (text, is_one) in [("alpha", true), ("two words", true), ("caf\u{e9}", true), ("", false), ("a\nb", false)]
        {
            assert_eq!(name(text).is_ok(), is_one, "{text:?}");
        }
        assert!(name(&"a".repeat(LONGEST_NAME)).is_ok() && name(&"a".repeat(LONGEST_NAME + 1)).is_err());
    }

    #[test]
    fn permissions_are_octal() {
        for (text, value) in [("0660", 0o660), ("600", 0o600), ("0", 0), ("0777", 0o777)] {
            assert_eq!(mode(text), Ok(value), "{text}");
        }
        for text in ["", "0o660", "rw", "668", "1777", "-1", "07777777777777"] {
            assert!(mode(text).expect_err("no permissions").contains("0660"), "{text}");
        }
    }

    #[test]
    fn threads_have_a_limit() {
        for (text, count) in [
            ("1", Some(1)),
            ("1024", Some(1024)),
            ("0", None),
            ("1025", None),
            ("100000", None),
            ("-1", None),
            ("x", None),
        ] {
            assert_eq!(workers(text).ok(), count, "{text}");
        }
    }
}
