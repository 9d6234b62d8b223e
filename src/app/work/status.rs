//! `work --status`, `--dead` and `--retry-dead`: how far it is, and what no command will have.
//!
//! Apart from the working: here nothing is run.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::described_state;
use crate::app::args::WorkArgs;
use crate::app::json::Object;
use crate::app::spool::{in_a_line, written_time};
use crate::app::{Exit, archives, screen};
use crate::service::store::{Archive, Selection};
use crate::service::work::{DeadLetter, State, Status};

/// How many dead letters are read at once.
const PAGE: usize = 1000;

pub(super) fn run(args: &WorkArgs, path: &Path) -> anyhow::Result<Exit> {
    if args.retry_dead {
        let retried = State::retry_dead(path).map_err(described_state)?;
        screen::print(&format!("{} tried again by the next that works\n", letters(retried as u64, "is", "are")))?;
        return Ok(Exit::Done);
    }
    let archive = archives::open(&args.store)?;
    let state = State::look(path).map_err(described_state)?;
    match args.dead {
        true => dead(&state, &*archive, args.json)?,
        false => show(&state, &*archive, args.json)?,
    }
    Ok(Exit::Done)
}

fn letters(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 dead letter {one}") } else { format!("{count} dead letters {many}") }
}

fn show(state: &State, archive: &dyn Archive, json: bool) -> anyhow::Result<()> {
    let status = state.status().map_err(described_state)?;
    let waiting = waiting(archive, &state.selection().map_err(described_state)?, status.mark)?;
    let next_try = status.next_try.as_ref().map(|(due, _)| time(*due));
    if json {
        let object = Object::event("work")
            .with("store", archive.name())
            .with("done", status.done)
            .with("running", status.running)
            .with("waiting", waiting)
            .with("put_off", status.put_off)
            .maybe("next_try", next_try)
            .maybe("reason", status.next_try.as_ref().map(|(_, reason)| reason.as_str()))
            .with("dead", status.dead)
            .with("deleted", status.gone)
            .with("place", status.mark)
            .maybe("pid", status.pid);
        return Ok(screen::print(&object.line())?);
    }
    let Status { done, running, put_off, dead, gone, pid, .. } = status;
    let by = pid.map_or("nobody works".to_owned(), |pid| format!("process {pid} works"));
    let mut text = format!("{}: {by}\n{done} done, {running} begun, {waiting} wait\n", archive.name());
    if let (Some(at), Some((due, reason))) = (next_try, &status.next_try) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let when = match now.as_millis().cast_signed() < i128::from(*due) {
            true => format!("the next try at {at}"),
            false => "the next is due".to_owned(),
        };
        text += &format!("{put_off} put off, {when}: {}\n", in_a_line(reason.as_bytes()));
    }
    if dead > 0 {
        text +=
            &format!("{}: --dead shows them, --retry-dead has them tried again\n", letters(dead, "", "").trim_end());
    }
    if gone > 0 {
        text += &format!("{gone} were deleted from the store before they were done\n");
    }
    Ok(screen::print(&text)?)
}

/// How many messages were not begun.
fn waiting(archive: &dyn Archive, selection: &Selection, mut after: i64) -> anyhow::Result<u64> {
    let (through, mut count) = (archive.last()?, 0);
    loop {
        let page = archive.next(after, through, selection)?;
        let Some(last) = page.last() else { return Ok(count) };
        (after, count) = (last.id, count + page.len() as u64);
    }
}

fn dead(state: &State, archive: &dyn Archive, json: bool) -> anyhow::Result<()> {
    let (mut after, mut is_first) = (0, true);
    loop {
        let letters = state.dead_letters(after, PAGE).map_err(described_state)?;
        let Some(last) = letters.last() else { return Ok(()) };
        after = last.place;
        let mut text = String::new();
        if !json && std::mem::take(&mut is_first) {
            text = format!("{:>8}  {:20}  {:>5}  {:32}  message\n", "id", "time", "tries", "reason");
        }
        for letter in letters {
            let message = archive.next(letter.place - 1, letter.place, &Selection::default())?.pop();
            let body = message.as_ref().map(|message| message.body.as_slice());
            let DeadLetter { place, tries, at, reason } = &letter;
            text += &match json {
                true => {
                    let object = Object::event("dead")
                        .with("id", *place)
                        .with("time", time(*at))
                        .with("tries", *tries)
                        .with("reason", reason.as_str())
                        .maybe("session", message.as_ref().and_then(|message| message.session.as_deref()))
                        .maybe("number", message.as_ref().map(|message| message.number))
                        .maybe("origin", message.as_ref().and_then(|message| message.origin.as_deref()));
                    match body {
                        Some(body) => object.bytes(body).line(),
                        None => object.line(),
                    }
                }
                false => {
                    let body = body.map_or("(deleted)".to_owned(), in_a_line);
                    let reason = in_a_line(reason.as_bytes());
                    format!("{place:>8}  {:20}  {tries:>5}  {reason:32}  {body}\n", time(*at))
                }
            };
        }
        screen::print(&text)?;
    }
}

fn time(milliseconds: i64) -> String {
    written_time(UNIX_EPOCH + Duration::from_millis(milliseconds.max(0).unsigned_abs()))
}
