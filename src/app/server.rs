//! `server`: listens, displays each message and acknowledges it.

use std::cell::Cell;
use std::io;

use crate::net::{Endpoint, Error, ListenConfig, Listener, Type, plain};
use crate::service::{Chat, Conversations, Display, Reply, Server, ServerConfig, Standard, StandardService};
use crate::wire::Framing;

use super::args::{self, ServerArgs};
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::{Exit, report};

pub(super) fn run(args: ServerArgs) -> anyhow::Result<Exit> {
    let verbosity = args.common.verbosity();
    report::start(verbosity);
    let endpoints = args::server_endpoints(&args.addresses)?;
    let listening =
        ListenConfig { family: args.common.family(), names: args.common.names(), ..ListenConfig::default() };
    if let (Some(framing), Some(endpoint)) = (args.framing, endpoints.iter().find(|endpoint| carries_packets(endpoint)))
    {
        return Err(Error::usage(format!(
            "the framing {framing} is for streams, and {} carries packets",
            endpoint.name()
        ))
        .hinting("leave --framing out: a packet is a message as it is")
        .into());
    }
    if args.chat {
        check_chat(args.framing.unwrap_or_default(), &endpoints)?;
    }
    let config = ServerConfig {
        framing: args.framing.unwrap_or_default(),
        max_message: args.max_message,
        acknowledgement: (!args.no_ack).then_some(args.ack),
        conversations: if args.keep_open { Conversations::Many } else { Conversations::One },
        ..ServerConfig::default()
    };
    block_on(async {
        let mut signals = Signals::catch()?;
        let screen = StandardOutput::open()?;
        let listeners = listen(&endpoints, &listening).await?;
        for name in listeners.iter().flat_map(Listener::names) {
            if verbosity.says_notices() {
                report::notice(&format!("listening on {name}"));
            }
        }
        let server = match (args.service, args.reply) {
            (Some(service), _) => standard(service, config),
            _ if args.chat => chat(config),
            (None, Some(text)) => Server::new(Reply(text.into()), config),
            (None, None) => Server::new(Display(screen.clone()), config),
        };
        serve(server, listeners, &mut signals, &screen).await
    })
}

/// A server of a simple service: what it has no answer for it is silent about.
fn standard(service: StandardService, config: ServerConfig) -> Server {
    let max_message = config.max_message.or(Some(0));
    Server::new(Standard::new(service), ServerConfig { acknowledgement: None, max_message, ..config })
        .with_connections(Standard::new(service))
}

/// A server whose clients talk to each other, which one alone could not.
fn chat(config: ServerConfig) -> Server {
    let max_message = config.max_message.unwrap_or(config.framing.default_limit());
    let chat = || Chat::new(config.framing, max_message);
    Server::new(chat(), ServerConfig { conversations: Conversations::Many, ..config.clone() }).with_connections(chat())
}

/// Whether clients can chat there: line by line, over connections.
fn check_chat(framing: Framing, endpoints: &[Endpoint]) -> Result<(), Error> {
    if matches!(framing, Framing::Whole | Framing::Read) {
        return Err(Error::usage(format!("a chat goes message by message, which the framing {framing} has not"))
            .hinting("leave --framing out for lines"));
    }
    match endpoints.iter().find(|endpoint| endpoint.socket_type() == Some(Type::DGRAM)) {
        Some(endpoint) => Err(Error::usage(format!("a chat needs connections, and {} has none", endpoint.name()))
            .hinting("tcp, unix and unix-seqpacket have them")),
        None => Ok(()),
    }
}

fn carries_packets(endpoint: &Endpoint) -> bool {
    endpoint.socket_type().is_some_and(|socket_type| socket_type != Type::STREAM)
}

async fn listen(endpoints: &[Endpoint], config: &ListenConfig) -> anyhow::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for endpoint in endpoints {
        listeners.push(config.listen(endpoint).await?);
    }
    Ok(listeners)
}

/// Serves until it is over or a signal comes; a second signal does not wait for what is in hand.
async fn serve(
    server: Server,
    listeners: Vec<Listener>,
    signals: &mut Signals,
    screen: &StandardOutput,
) -> anyhow::Result<Exit> {
    let end = Cell::new(Exit::Done);
    let (signalled, mut stop) = tokio::sync::oneshot::channel::<()>();
    let mut signalled = Some(signalled);
    let mut serving = std::pin::pin!(server.serve(listeners, async {
        tokio::select! {
            _ = &mut stop => {}
            _ = screen.failed() => end.set(Exit::Failed),
        }
    }));
    let served = loop {
        tokio::select! {
            served = &mut serving => break served?,
            exit = signals.next() => match signalled.take() {
                Some(signalled) => {
                    end.set(exit);
                    // It has ended by itself just now, then.
                    let _ = signalled.send(());
                }
                None => return Ok(exit),
            },
        }
    };
    if served.cut_off > 0 {
        report::notice(&format!("{} conversations were cut off: they took too long to end", served.cut_off));
    }
    if end.get() == Exit::Failed {
        let error = screen.failed().await;
        // A reader that has gone has seen enough.
        if error.kind() != io::ErrorKind::BrokenPipe {
            anyhow::bail!("standard output: {}", plain(error));
        }
    }
    Ok(end.get())
}
