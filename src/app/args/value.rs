//! How the values of arguments are read: sizes, times, framings, services.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::net::Error;
use crate::net::options::{parse_size, parse_time};
use crate::service::StandardService;
use crate::wire::Framing;

/// One of the simple services, by names that help and completions know.
pub(super) fn service() -> impl TypedValueParser<Value = StandardService> {
    PossibleValuesParser::new(StandardService::ALL.map(|(name, _)| name))
        .try_map(|name| name.parse::<StandardService>())
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

fn described(error: &Error) -> String {
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}: {hint}"))
}
