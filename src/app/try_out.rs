//! `try`: the exchange before one's eyes: a server and a client, two real processes, in one terminal.
//!
//! The client reads this terminal, or what is piped in; each line that either writes is marked with its side.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::args::TryArgs;
use super::{Exit, screen};

/// How long the server may take to say that it listens.
const START: Duration = Duration::from_secs(10);

/// How long the server may take to end once the client has.
const END: Duration = Duration::from_secs(3);

const SERVER: &str = "server | ";
const CLIENT: &str = "client | ";

pub(super) fn run(args: TryArgs) -> anyhow::Result<Exit> {
    let wilco = std::env::current_exe().context("find this program")?;
    let trace = args.trace.then_some("--trace");
    let mut server = start(&wilco, "server", Stdio::null(), ["localhost:0"].into_iter().chain(trace))?;
    let (ready, listening) = mpsc::channel();
    let mut marking = mark(&mut server, SERVER, move |line| {
        if let Some(address) = line.strip_prefix("listening on tcp:") {
            let _ = ready.send(address.rsplit(':').next().unwrap_or_default().to_owned());
        }
    });
    let Ok(port) = listening.recv_timeout(START) else {
        let _ = server.kill();
        bail!("the server did not start");
    };
    let mut client = start(&wilco, "client", Stdio::inherit(), ["localhost", &port].into_iter().chain(trace))?;
    marking.extend(mark(&mut client, CLIENT, |_| ()));
    let sent = client.wait().context("wait for the client")?.success();
    // Without a message the server waits for one, and nobody will send it any more.
    let exchanged = ends_in_time(&mut server)?;
    if !exchanged {
        server.kill().context("end the server")?;
        server.wait().context("wait for the server")?;
    }
    for side in marking {
        let _ = side.join();
    }
    let directory = directory(&wilco);
    let happened = match exchanged {
        true => "That was one exchange between two processes.",
        false => "There was no message, and so no exchange.",
    };
    screen::print(&format!(
        "\n{happened} By hand, in two terminals:\n\n  \
         {directory}server 51717\n  {directory}client localhost 51717\n"
    ))?;
    Ok(if sent { Exit::Done } else { Exit::Failed })
}

/// Whether a process ends by itself within [`END`].
fn ends_in_time(process: &mut Child) -> anyhow::Result<bool> {
    let started = Instant::now();
    while started.elapsed() < END {
        if process.try_wait().context("wait for the server")?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}

/// What must be typed before the name of a program beside this one: nothing if the shell finds it.
fn directory(wilco: &Path) -> String {
    let Some(directory) = wilco.parent() else { return String::new() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|found| found == directory) {
        return String::new();
    }
    let here = std::env::current_dir().ok();
    let shown = here.and_then(|here| directory.strip_prefix(here).ok()).unwrap_or(directory);
    format!("{}/", shown.display())
}

fn start<'a>(
    wilco: &Path,
    side: &str,
    input: Stdio,
    arguments: impl Iterator<Item = &'a str>,
) -> anyhow::Result<Child> {
    Command::new(wilco)
        .arg(side)
        .args(arguments)
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start the {side}"))
}

/// Shows both outputs of a process with a mark before each line, and hands each line of its standard error on.
fn mark(child: &mut Child, mark: &'static str, seen: impl Fn(&str) + Send + 'static) -> Vec<thread::JoinHandle<()>> {
    let mut threads = Vec::new();
    if let Some(output) = child.stdout.take() {
        threads.push(thread::spawn(move || copy_marked(output, mark, &|_| ())));
    }
    if let Some(errors) = child.stderr.take() {
        threads.push(thread::spawn(move || copy_marked(errors, mark, &seen)));
    }
    threads
}

fn copy_marked(from: impl Read, mark: &str, seen: &dyn Fn(&str)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        let Ok(available) = from.fill_buf() else { return };
        if available.is_empty() {
            return;
        }
        // A prompt has no newline, and is shown all the same.
        let end = available.iter().position(|byte| *byte == b'\n').map_or(available.len(), |at| at + 1);
        let piece = available[..end].to_vec();
        from.consume(end);
        let mut shown = if line.is_empty() { mark.as_bytes().to_vec() } else { Vec::new() };
        shown.extend_from_slice(&piece);
        let mut stdout = io::stdout().lock();
        if stdout.write_all(&shown).and_then(|()| stdout.flush()).is_err() {
            return;
        }
        drop(stdout);
        line.extend_from_slice(&piece);
        if line.ends_with(b"\n") {
            seen(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
}
