//! `client`: sends messages, shows their acknowledgements, and ends with 0 only if every one was acknowledged.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::net::{Addr, Connection, Connector, Error, Socket};
use crate::service::{
    self, ACKNOWLEDGEMENT_TIMEOUT, Acknowledgements, Batch, ClientConfig, Exchange, Messages, Reach, Screen, Source,
    Step, Summary,
};
use crate::wire::Framing;

use super::args::{self, ClientArgs};
use super::json::Object;
use super::prompt::{self, Prompt};
use super::records::{self, Trouble};
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::traffic::Traffic;
use super::{Exit, assured, files, raw, report};

pub(super) fn run(args: ClientArgs) -> anyhow::Result<Exit> {
    report::start(args.common.verbosity(), args.output.json);
    let endpoints = args::client_endpoints(&args.addresses)?;
    let source =
        args.source.as_deref().zip(endpoints.first()).map(|(text, endpoint)| endpoint.source(text)).transpose()?;
    let sends_files = !args.files.is_empty();
    let is_assured = args.assured || args.spool.is_some() || sends_files;
    if let Some(option) = only_assured(&args).filter(|_| !is_assured) {
        return Err(Error::usage(format!("{option} is about assured delivery"))
            .hinting("give --assured, or --spool DIR")
            .into());
    }
    if !is_assured {
        check_messages(&args.messages, args.framing)?;
    }
    if args.interactive && !io::stdin().is_terminal() {
        return Err(Error::usage("--interactive asks on a terminal, and standard input is none")
            .hinting("leave it out: each line of standard input is a message then")
            .into());
    }
    let connector = Connector {
        timeout: args.connect_timeout,
        local: source,
        family: args.common.family(),
        names: args.common.names(),
        tap: Traffic::tap(args.output.hex, args.output.dump.as_deref())?,
    };
    if sends_files {
        return files::run(&args, endpoints, connector);
    }
    if is_assured {
        return assured::run(&args, endpoints, connector);
    }
    let reach = Reach { connector, wait: args.wait.map(|wait| wait.unwrap_or(Duration::MAX)), retries: args.retry };
    let config = ClientConfig {
        framing: args.framing,
        acknowledgements: if args.no_ack { Acknowledgements::NotExpected } else { Acknowledgements::Awaited },
        timeout: args.timeout.unwrap_or(ACKNOWLEDGEMENT_TIMEOUT),
        ..ClientConfig::default()
    };
    block_on(async {
        let mut signals = Signals::catch()?;
        let connection = tokio::select! {
            connection = reach.connect(&endpoints) => connection?,
            exit = signals.next() => return Ok(exit),
        };
        let screen = StandardOutput::open()?;
        tell_connected(&connection, args.output.json.then_some(&screen)).await;
        if args.raw {
            return raw::talk(connection, args.idle_timeout, &mut signals).await;
        }
        let input = Input::open(&args)?;
        let mut exchange = Exchange::new(connection, config);
        let shown = Shown { screen, json: args.output.json, answers: 0 };
        talk(&mut exchange, input, &mut signals, shown).await
    })
}

/// An option that was given and means nothing to plain servers. A name may also be in the environment, which is that of all clients.
fn only_assured(args: &ClientArgs) -> Option<&'static str> {
    let is_typed = |name: &String| std::env::var_os("WILCO_NAME").is_none_or(|every| every != **name);
    match args {
        ClientArgs { require: Some(_), .. } => Some("--require"),
        ClientArgs { name: Some(name), .. } if is_typed(name) => Some("--name"),
        _ => None,
    }
}

async fn tell_connected(connection: &Connection, json: Option<&Arc<StandardOutput>>) {
    let addr = |addr: fn(&Socket) -> io::Result<Addr>| connection.socket().and_then(|socket| addr(socket).ok());
    let (peer, local) = (addr(Socket::peer_addr), addr(Socket::local_addr));
    match peer.as_ref().filter(|peer| peer.is_named()) {
        Some(peer) => tracing::info!("connected to {peer}"),
        None => tracing::info!("connected"),
    }
    if let Some(screen) = json {
        let named = |addr: Option<Addr>| addr.filter(Addr::is_named).map(|addr| addr.to_string());
        let event = Object::event("connected").maybe("peer", named(peer)).maybe("local", named(local));
        // What comes after it fails in the same way, and that is told.
        let _ = screen.show(event.line().as_bytes()).await;
    }
}

/// Where the answers are shown, and how.
struct Shown {
    screen: Arc<StandardOutput>,
    json: bool,
    /// How many there were.
    answers: u64,
}

impl Shown {
    async fn show(&mut self, answers: Messages<'_>) -> io::Result<()> {
        if !self.json {
            return self.screen.show(answers.displayed(&mut Vec::new())).await;
        }
        let mut lines = String::new();
        for answer in answers.iter() {
            self.answers += 1;
            lines += &Object::event("answer").with("number", self.answers).bytes(answer).line();
        }
        self.screen.show(lines.as_bytes()).await
    }

    /// Tells how it has ended, if events are wanted.
    async fn end(&self, refusal: Option<(u64, &str)>, summary: Summary) {
        if !self.json {
            return;
        }
        let refused = refusal
            .map(|(number, reason)| Object::event("refused").with("number", number).with("reason", reason).line());
        let Summary { sent, acknowledged, refused: count } = summary;
        let done = Object::event("done").with("sent", sent).with("acknowledged", acknowledged).with("refused", count);
        // A reader that has gone has seen enough.
        let _ = self.screen.show((refused.unwrap_or_default() + &done.line()).as_bytes()).await;
    }
}

/// Exchanges messages, and tells how that has ended.
async fn talk(exchange: &mut Exchange, input: Input, signals: &mut Signals, mut shown: Shown) -> anyhow::Result<Exit> {
    let ended = converse(exchange, input, signals, &mut shown).await;
    let refusal = match ended.as_ref().err().and_then(|error| error.downcast_ref()) {
        Some(service::Error::Refused { number, reason }) => Some((*number, reason.as_str())),
        _ => None,
    };
    let telling = shown.end(refusal, exchange.summary());
    tokio::select! {
        () = telling => ended,
        // Whoever does not read what is shown does not keep the program from ending.
        exit = signals.next() => Ok(exit),
    }
}

/// A message that its framing would take apart is a mistake that is found before anything is sent.
fn check_messages(messages: &[String], framing: Framing) -> Result<(), Error> {
    if framing == Framing::Whole && messages.len() > 1 {
        return Err(Error::usage("in the framing whole the whole stream is one message, and several were given")
            .hinting("give one, or another framing"));
    }
    match messages.iter().find(|message| framing == Framing::Line && message.contains('\n')) {
        None => Ok(()),
        Some(message) => Err(Error::usage(format!("the message {message:?} has a newline, which ends a message"))
            .hinting("give --framing nul or --framing length, and the same to the server")),
    }
}

/// Where the messages come from.
pub(super) struct Input {
    pub(super) messages: mpsc::Receiver<Batch>,
    pub(super) trouble: Trouble,
    /// The prompt that is told of each answer, so that it may ask for the next message.
    pub(super) prompt: Option<Prompt>,
}

impl Input {
    pub(super) fn open(args: &ClientArgs) -> anyhow::Result<Self> {
        let from = |messages| Self { messages, trouble: Trouble::default(), prompt: None };
        if !args.messages.is_empty() {
            let (sender, receiver) = mpsc::channel(args.messages.len());
            for message in &args.messages {
                sender.try_send(Batch::of(message.as_bytes()))?;
            }
            return Ok(from(receiver));
        }
        if args.interactive {
            let next = if args.no_ack { prompt::Next::AtOnce } else { prompt::Next::Answered };
            let (messages, prompt) = prompt::ask_on(next)?;
            return Ok(Self { prompt: Some(prompt), ..from(messages) });
        }
        if io::stdin().is_terminal() {
            return Ok(from(prompt::ask_once()));
        }
        let (messages, trouble) = records::read(args.framing);
        Ok(Self { trouble, ..from(messages) })
    }
}

impl Source for Input {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.messages.poll_next(cx)
    }
}

/// Exchanges messages and answers until there are no more. A signal lets what was sent be acknowledged; a second one does not.
async fn converse(
    exchange: &mut Exchange,
    mut input: Input,
    signals: &mut Signals,
    shown: &mut Shown,
) -> anyhow::Result<Exit> {
    let mut signalled = None;
    let (mut refused, mut reader_gone) = (false, false);
    let mut answered = 0;
    loop {
        let step = tokio::select! {
            step = exchange.step(&mut input) => step,
            exit = signals.next() => {
                let Summary { sent, acknowledged, refused } = exchange.summary();
                let outstanding = sent - acknowledged - refused;
                if signalled.replace(exit).is_some() || outstanding == 0 {
                    return Ok(tell_interrupted(exit, exchange));
                }
                report::notice(&report::waits_for(outstanding));
                input.messages.close();
                continue;
            }
        };
        let step = match (step, signalled) {
            // What the signal cut short is no failure of the connection.
            (Err(_), Some(exit)) => return Ok(tell_interrupted(exit, exchange)),
            (step, _) => step?,
        };
        if step == Step::Done {
            break;
        }
        let shown = tokio::select! {
            shown = shown.show(exchange.answers()) => shown,
            // Whoever does not read what is shown does not keep the program from ending.
            exit = signals.next() => return Ok(tell_interrupted(exit, exchange)),
        };
        match shown {
            // What counts is that they came; a reader that has gone has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => reader_gone = true,
            shown if !reader_gone => shown.context("standard output")?,
            _ => {}
        }
        if let Some(prompt) = &input.prompt {
            if let Some((_, reason)) = exchange.take_refusal() {
                report::notice(&format!("refused: {reason}"));
                refused = true;
            }
            let Summary { acknowledged, refused, .. } = exchange.summary();
            for _ in answered..acknowledged + refused {
                // The prompt may have ended meanwhile.
                let _ = prompt.answered.send(());
            }
            answered = acknowledged + refused;
        }
    }
    if let Some(error) = input.trouble.take() {
        return Err(error.into());
    }
    let summary = exchange.summary();
    exchange.shutdown().await?;
    tracing::info!("{} of {} messages acknowledged", summary.acknowledged, summary.sent);
    Ok(signalled.unwrap_or(if refused { Exit::Refused } else { Exit::Done }))
}

fn tell_interrupted(exit: Exit, exchange: &Exchange) -> Exit {
    let Summary { sent, acknowledged, .. } = exchange.summary();
    if acknowledged < sent {
        report::notice(&format!("interrupted: {acknowledged} of {sent} messages were acknowledged"));
    }
    exit
}
