//! How the values of arguments are read: sizes, times, framings, rates, access rules.

use std::time::Duration;

use crate::net::Error;
use crate::net::options::{parse_size, parse_time};
use crate::service::access::Rule;
use crate::service::limits::Rate;
use crate::wire::Framing;

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

fn described(error: &Error) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}
