//! `spool`: shows what waits in a client's spool, what was refused, and repairs one that is damaged.

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde_json::Value;

use crate::net::Error;
use crate::service::Screen;
use crate::service::spool::{Inspection, Letter, Repair, SpoolError, Waiting, repair};

use super::args::SpoolArgs;
use super::json::Object;
use super::report::Verbosity;
use super::runtime::block_on;
use super::screen::{StandardOutput, escaped};
use super::{Exit, report};

/// How much of a message a table shows, in characters.
const MOST_SHOWN: usize = 60;

/// How much is put together for one write, in bytes.
const PIECE: usize = 64 * 1024;

pub(super) fn run(args: SpoolArgs) -> anyhow::Result<Exit> {
    report::start(Verbosity::default(), args.json);
    let directory = args.directory.as_path();
    block_on(async {
        let mut page = Page { screen: StandardOutput::open()?, text: String::new() };
        let shown = match (args.repair, args.dead) {
            (true, _) => repaired(directory, args.json, &mut page).await,
            (_, true) => dead(directory, args.json, &mut page).await,
            _ => waiting(directory, args.json, &mut page).await,
        };
        // What was found before something could not be read is shown, too.
        let shown = shown.and(page.show().await);
        match shown {
            Err(Gone::Reader) => Ok(Exit::Done),
            Err(Gone::Failed(error)) => Err(error),
            Ok(()) => Ok(Exit::Done),
        }
    })
}

/// A failure of a spool as the user reads it: what is the mistake of who wrote the command is told as one.
pub(super) fn failure(error: SpoolError) -> anyhow::Error {
    let is_mistake = match &error {
        SpoolError::Exposed { .. }
        | SpoolError::Foreign { .. }
        | SpoolError::Newer { .. }
        | SpoolError::NoParent { .. } => true,
        SpoolError::Io { error, .. } => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    };
    let hint = match &error {
        SpoolError::Foreign { .. } => Some("name the DIR that client --spool was given".to_owned()),
        error => error.hint(),
    };
    match (is_mistake, hint) {
        (true, Some(hint)) => Error::usage(error.to_string()).hinting(hint).into(),
        (true, None) => Error::usage(error.to_string()).into(),
        (false, Some(hint)) => anyhow::anyhow!("{error}; {hint}"),
        (false, None) => error.into(),
    }
}

/// Why nothing more is shown.
enum Gone {
    /// Whoever reads has seen enough.
    Reader,
    Failed(anyhow::Error),
}

impl From<SpoolError> for Gone {
    fn from(error: SpoolError) -> Self {
        Self::Failed(failure(error))
    }
}

/// Standard output, written in large pieces.
struct Page {
    screen: Arc<StandardOutput>,
    text: String,
}

impl Page {
    async fn add(&mut self, line: &str) -> Result<(), Gone> {
        self.text += line;
        if self.text.len() >= PIECE { self.show().await } else { Ok(()) }
    }

    async fn show(&mut self) -> Result<(), Gone> {
        match self.screen.show(std::mem::take(&mut self.text).as_bytes()).await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Gone::Reader),
            shown => shown.context("standard output").map_err(Gone::Failed),
        }
    }
}

/// A spool for looking at, whoever could have put something there: that is said.
fn looked_at(directory: &Path) -> Result<Inspection, SpoolError> {
    let spool = Inspection::of(directory)?;
    if let Err(error) = spool.is_own() {
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        report::notice(&format!("{error}{hint}"));
    }
    Ok(spool)
}

async fn waiting(directory: &Path, json: bool, page: &mut Page) -> Result<(), Gone> {
    let spool = looked_at(directory)?;
    let mut dead = 0_u64;
    for letter in spool.dead_letters()? {
        dead += u64::from(letter.is_ok());
    }
    let mut messages = spool.messages().peekable();
    let oldest = messages.peek().and_then(|first| first.as_ref().ok()).and_then(|first| first.accepted);
    let summary = if json { summary_object(&spool, oldest, dead).line() } else { summary(&spool, oldest, dead) };
    page.add(&summary).await?;
    if !json && messages.peek().is_some() {
        page.add(&format!("\n{:>8}  {:20}  {:>8}  message\n", "number", "accepted", "bytes")).await?;
    }
    for message in messages {
        let message = message?;
        page.add(&if json { message_object(&message).line() } else { row(&message) }).await?;
    }
    match spool.damage.filter(|_| spool.user.is_none()) {
        Some(damage) => Err(SpoolError::Damaged(damage).into()),
        None => Ok(()),
    }
}

fn summary(spool: &Inspection, oldest: Option<SystemTime>, dead: u64) -> String {
    let mut text = match &spool.session {
        Some(session) => format!("session {session}"),
        None => "no session yet: nothing was ever accepted".to_owned(),
    };
    text += &spool.user.map(|pid| format!(", in use by process {pid}")).unwrap_or_default();
    let waiting = spool.next - spool.first;
    text += &match waiting {
        0 => "\nno message waits".to_owned(),
        1 => "\n1 message waits".to_owned(),
        _ => format!("\n{waiting} messages wait"),
    };
    if let Some(age) = oldest.and_then(|oldest| oldest.elapsed().ok()) {
        text += &format!(", the oldest for {}", written_age(age));
    }
    text += &format!("; {} bytes on disk\n", spool.bytes);
    text += &match dead {
        0 => String::new(),
        1 => "1 dead letter: --dead shows it\n".to_owned(),
        _ => format!("{dead} dead letters: --dead shows them\n"),
    };
    text
}

fn summary_object(spool: &Inspection, oldest: Option<SystemTime>, dead: u64) -> Object {
    Object::event("spool")
        .with("directory", spool.directory.display().to_string())
        .maybe("session", spool.session.as_ref().map(ToString::to_string))
        .with("first", spool.first)
        .with("next", spool.next)
        .with("waiting", spool.next - spool.first)
        .maybe("oldest", oldest.map(written_time))
        .with("bytes", spool.bytes)
        .with("dead", dead)
        .maybe("pid", spool.user)
}

fn message_object(message: &Waiting) -> Object {
    Object::event("message")
        .with("number", message.number)
        .maybe("accepted", message.accepted.map(written_time))
        .maybe("origin", message.origin.as_deref())
        .bytes(&message.body)
}

fn row(message: &Waiting) -> String {
    let accepted = message.accepted.map(written_time).unwrap_or_default();
    let (number, bytes) = (message.number, message.body.len());
    format!("{number:>8}  {accepted:20}  {bytes:>8}  {}\n", in_a_line(&message.body))
}

async fn dead(directory: &Path, json: bool, page: &mut Page) -> Result<(), Gone> {
    let mut is_first = true;
    for letter in looked_at(directory)?.dead_letters()? {
        let letter = match letter {
            Ok(letter) => letter,
            // Somebody has edited the file, or the last line is being written.
            Err(error) => {
                report::notice(&format!("a line of the dead letters cannot be read: {error}"));
                continue;
            }
        };
        if !json && std::mem::take(&mut is_first) {
            let heads = format!("{:24}  {:>8}  {:>4}  {:32}  message\n", "time", "number", "code", "reason");
            page.add(&heads).await?;
        }
        page.add(&if json { letter_object(&letter).line() } else { letter_row(&letter) }).await?;
    }
    Ok(())
}

fn letter_object(letter: &Letter) -> Object {
    Object::event("dead")
        .with("time", letter.time.as_str())
        .with("session", letter.session.as_str())
        .with("number", letter.number)
        .with("code", letter.code)
        .with("reason", letter.reason.as_str())
        .maybe("origin", letter.origin.as_deref())
        .bytes(&letter.body())
}

fn letter_row(letter: &Letter) -> String {
    let (time, reason) = (in_a_line(letter.time.as_bytes()), in_a_line(letter.reason.as_bytes()));
    let Letter { number, code, .. } = letter;
    format!("{time:24}  {number:>8}  {code:>4}  {reason:32}  {}\n", in_a_line(&letter.body()))
}

async fn repaired(directory: &Path, json: bool, page: &mut Page) -> Result<(), Gone> {
    // A directory that is not there is not to be made.
    Inspection::of(directory).map(drop).or_else(|error| match error {
        SpoolError::Damaged(_) => Ok(()),
        error => Err(error),
    })?;
    let done = repair(directory)?;
    if json {
        return page.add(&repair_object(&done).line()).await;
    }
    let Some(session) = &done.session else { return page.add("nothing is damaged, and nothing was done\n").await };
    for range in &done.lost {
        let (first, last) = (range.start(), range.end());
        let numbers =
            if first == last { format!("message {first} is") } else { format!("messages {first} to {last} are") };
        page.add(&format!("{numbers} lost\n")).await?;
    }
    for file in &done.files {
        page.add(&format!("what could not be read is in {}\n", file.display())).await?;
    }
    page.add(&format!("{} kept, in the new session {session}\n", done.kept)).await
}

fn repair_object(done: &Repair) -> Object {
    let range = |range: &RangeInclusive<u64>| Value::from(vec![*range.start(), *range.end()]);
    Object::event("repair")
        .maybe("session", done.session.as_ref().map(ToString::to_string))
        .with("kept", done.kept)
        .with("lost", done.lost.iter().map(range).collect::<Vec<_>>())
        .with("files", done.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>())
}

/// The beginning of a text, as a line of a table can have it.
pub(super) fn in_a_line(bytes: &[u8]) -> String {
    let mut safe = Vec::new();
    // No letter has more bytes than four.
    escaped(&bytes[..bytes.len().min(4 * MOST_SHOWN)], &mut safe);
    let text = String::from_utf8_lossy(&safe).replace('\n', "\\n").replace('\t', "\\t");
    let is_whole = text.chars().count() <= MOST_SHOWN && bytes.len() <= 4 * MOST_SHOWN;
    if is_whole { text } else { text.chars().take(MOST_SHOWN - 3).chain("...".chars()).collect() }
}

pub(super) fn written_time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

fn written_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_line_of_a_table() {
        assert_eq!(in_a_line(b"one\ntwo\t\x1b[2J\r\n"), "one\\ntwo\\t\\x1b[2J\\n");
        assert_eq!(in_a_line(&[b'x'; 61]), format!("{}...", "x".repeat(57)));
        assert_eq!(in_a_line(&[b'x'; 60]).len(), 60);
        assert_eq!(in_a_line(&[b'\n'; 500]).len(), 60);
    }

    #[test]
    fn an_age_is_told_in_its_unit() {
        for (seconds, written) in [(5, "5 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")] {
            assert_eq!(written_age(Duration::from_secs(seconds)), written);
        }
    }
}
