//! `messages`: what a server has stored, as a table, as JSON or as it is; the deleting of what is old; and what is sent on.

mod prune;
mod replay;
mod table;

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::net::Error;
use crate::service::store::{Selection, StoreAddress, Stored};

use super::args::{ChoiceArgs, MessagesArgs, MessagesCommand, ShowArgs};
use super::json::Object;
use super::report::Verbosity;
use super::{Exit, archives, report, screen};

use table::Table;

/// How many of the last messages are shown before those that are followed, as tail(1) does it.
const FOLLOWED: usize = 10;

/// How long it is waited at once for something to be stored.
const WAIT: Duration = Duration::from_secs(60);

pub(super) fn run(args: MessagesArgs) -> anyhow::Result<Exit> {
    let command = match args.command {
        Some(MessagesCommand::Replay(replay)) => return replay::run(&replay),
        command => command,
    };
    report::start(Verbosity::default(), false);
    match (command, &args.show.store) {
        (Some(MessagesCommand::Prune(prune)), _) => prune::run(&prune),
        (_, Some(store)) => match show(store, &args.show) {
            // A reader that has gone has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(Exit::Done),
            shown => shown,
        },
        (_, None) => Err(Error::usage("the store is missing").into()),
    }
}

/// How messages are shown.
enum Form {
    Table(Table),
    Json,
    Raw,
}

fn show(store: &StoreAddress, args: &ShowArgs) -> anyhow::Result<Exit> {
    let archive = archives::open(store)?;
    let selection = selection(&args.choice);
    let mut form = match (args.json, args.raw) {
        (true, _) => Form::Json,
        (_, true) => Form::Raw,
        _ => Form::Table(Table::new()),
    };
    let last = args.last.or_else(|| (args.follow && args.choice.since.is_none()).then_some(FOLLOWED));
    let mut after = last.map_or(Ok(0), |last| archive.before_last(last, &selection))?;
    loop {
        let through = archive.last()?;
        loop {
            let page = archive.next(after, through, &selection)?;
            let Some(last) = page.last() else { break };
            after = last.id;
            form.print(&page)?;
        }
        if !args.follow {
            return Ok(Exit::Done);
        }
        after = after.max(through);
        archive.wait(WAIT)?;
    }
}

pub(super) fn selection(choice: &ChoiceArgs) -> Selection {
    let since = choice.since.map(|since| since.moment(SystemTime::now()));
    Selection { since, from: choice.from.clone(), search: choice.search.clone() }
}

impl Form {
    fn print(&mut self, messages: &[Stored]) -> io::Result<()> {
        let terminal = io::stdout().is_terminal();
        let mut bytes = Vec::new();
        match self {
            Self::Table(table) => table.write(messages, terminal, &mut bytes),
            Self::Json => messages.iter().for_each(|message| bytes.extend_from_slice(json(message).line().as_bytes())),
            Self::Raw => {
                for message in messages {
                    match terminal {
                        true => screen::escaped(&message.body, &mut bytes),
                        false => bytes.extend_from_slice(&message.body),
                    }
                    bytes.push(b'\n');
                }
            }
        }
        let mut output = io::stdout().lock();
        output.write_all(&bytes)?;
        output.flush()
    }
}

fn json(message: &Stored) -> Object {
    Object::default()
        .with("id", message.id)
        .with("time", Timestamp::from_millisecond(message.at).unwrap_or_default().to_string())
        .with("peer", message.peer.as_str())
        .maybe("name", message.name.as_deref())
        .maybe("user", message.user)
        .maybe("session", message.session.as_deref())
        .with("number", message.number)
        .maybe("origin", message.origin.as_deref())
        .bytes(&message.body)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
