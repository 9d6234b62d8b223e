//! `client`: sends messages, shows their acknowledgements, and ends with 0 only if every one was acknowledged.

use std::io::{self, IsTerminal};
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::net::{Connector, Error};
use crate::service::{Acknowledgements, Batch, ClientConfig, Exchange, Reach, Screen, Step, Summary};
use crate::wire::Framing;

use super::args::{self, ClientArgs};
use super::records::{self, Trouble};
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::{Exit, prompt, report};

pub(super) fn run(args: ClientArgs) -> anyhow::Result<Exit> {
    report::start(args.common.verbosity());
    let endpoints = args::client_endpoints(&args.addresses)?;
    let source =
        args.source.as_deref().zip(endpoints.first()).map(|(text, endpoint)| endpoint.source(text)).transpose()?;
    check_messages(&args.messages, args.framing)?;
    if args.interactive && !io::stdin().is_terminal() {
        return Err(Error::usage("--interactive asks on a terminal, and standard input is none")
            .hinting("leave it out: each line of standard input is a message then")
            .into());
    }
    let reach = Reach {
        connector: Connector {
            timeout: args.connect_timeout,
            local: source,
            family: args.common.family(),
            names: args.common.names(),
        },
        wait: args.wait.map(|wait| wait.unwrap_or(Duration::MAX)),
        retries: args.retry,
    };
    let config = ClientConfig {
        framing: args.framing,
        acknowledgements: if args.no_ack { Acknowledgements::NotExpected } else { Acknowledgements::Awaited },
        timeout: args.timeout,
        ..ClientConfig::default()
    };
    block_on(async {
        let mut signals = Signals::catch()?;
        let mut summary = Summary::default();
        let talking = async {
            let connection = reach.connect(&endpoints).await?;
            if let Some(peer) = connection.socket().and_then(|socket| socket.peer_addr().ok()) {
                tracing::info!("connected to {peer}");
            }
            let input = Input::open(&args)?;
            talk(Exchange::new(connection, config), input, &mut summary).await
        };
        let ended = tokio::select! {
            ended = talking => ended,
            exit = signals.next() => Ok(exit),
        };
        if matches!(ended, Ok(Exit::Signal(_))) && summary.sent > summary.acknowledged {
            report::notice(&format!(
                "interrupted: {} of {} messages were acknowledged",
                summary.acknowledged, summary.sent
            ));
        }
        ended
    })
}

/// A message that its framing would take apart is a mistake that is found before anything is sent.
fn check_messages(messages: &[String], framing: Framing) -> Result<(), Error> {
    match messages.iter().find(|message| framing == Framing::Line && message.contains('\n')) {
        None => Ok(()),
        Some(message) => Err(Error::usage(format!("the message {message:?} has a newline, which ends a message"))
            .hinting("give --framing nul or --framing length, and the same to the server")),
    }
}

/// Where the messages come from.
struct Input {
    messages: mpsc::Receiver<Batch>,
    trouble: Trouble,
    /// Told after each answer, so that the next message may be asked for.
    answered: Option<Sender<()>>,
}

impl Input {
    fn open(args: &ClientArgs) -> anyhow::Result<Self> {
        let from = |messages| Self { messages, trouble: Trouble::default(), answered: None };
        if !args.messages.is_empty() {
            let (sender, receiver) = mpsc::channel(args.messages.len());
            for message in &args.messages {
                sender.try_send(Batch::of(message.as_bytes()))?;
            }
            return Ok(from(receiver));
        }
        if args.interactive {
            let typed = prompt::ask_on()?;
            return Ok(Self { answered: Some(typed.answered), ..from(typed.messages) });
        }
        if io::stdin().is_terminal() {
            return Ok(from(prompt::ask_once()));
        }
        let (messages, trouble) = records::read(args.framing);
        Ok(Self { trouble, ..from(messages) })
    }
}

async fn talk(mut exchange: Exchange, mut input: Input, summary: &mut Summary) -> anyhow::Result<Exit> {
    let screen = StandardOutput::open()?;
    let mut reader_gone = false;
    loop {
        let step = exchange.step(&mut input.messages).await;
        *summary = exchange.summary();
        if step? == Step::Done {
            break;
        }
        let mut scratch = Vec::new();
        match screen.show(exchange.answers().displayed(&mut scratch)).await {
            // What counts is that they came; a reader that has gone has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => reader_gone = true,
            shown if !reader_gone => shown?,
            _ => {}
        }
        if let Some(answered) = &input.answered {
            // The prompt may have ended meanwhile.
            let _ = answered.send(());
        }
    }
    if let Some(error) = input.trouble.take() {
        return Err(error.into());
    }
    exchange.close().await?;
    tracing::info!("{} of {} messages acknowledged", summary.acknowledged, summary.sent);
    Ok(Exit::Done)
}
