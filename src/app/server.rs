//! `server`: listens, displays each message and acknowledges it.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use crate::net::{Endpoint, Error, ListenConfig, Listener, Type, plain};
use crate::service::{Conversations, Display, Handler, Outcome, Peer, Reply, Server, ServerConfig};

use super::args::{self, ServerArgs};
use super::json::{Events, Object, Told};
use super::runtime::{Signals, block_on};
use super::screen::StandardOutput;
use super::traffic::Traffic;
use super::{Exit, report};

pub(super) fn run(args: ServerArgs) -> anyhow::Result<Exit> {
    let verbosity = args.common.verbosity();
    report::start(verbosity, args.output.json);
    let endpoints = args::server_endpoints(&args.addresses)?;
    let listening = ListenConfig {
        family: args.common.family(),
        names: args.common.names(),
        tap: Traffic::tap(args.output.hex, args.output.dump.as_deref())?,
        ..ListenConfig::default()
    };
    if let (Some(framing), Some(endpoint)) = (args.framing, endpoints.iter().find(|endpoint| carries_packets(endpoint)))
    {
        return Err(Error::usage(format!(
            "the framing {framing} is for streams, and {} carries packets",
            endpoint.name()
        ))
        .hinting("leave --framing out: a packet is a message as it is")
        .into());
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
        let events = args.output.json.then(|| Events::new(screen.clone()));
        let listeners = listen(&endpoints, &listening).await?;
        for name in listeners.iter().flat_map(Listener::names) {
            if verbosity.says_notices() {
                report::notice(&format!("listening on {name}"));
            }
            if let Some(events) = &events {
                events.tell(Object::event("listening").with("address", name)).await?;
            }
        }
        let server = match (args.reply, &events) {
            (Some(text), None) => Server::new(Reply(text.into()), config),
            (None, None) => Server::new(Display(screen.clone()), config),
            (Some(text), Some(events)) => told(Reply(text.into()), config, events),
            (None, Some(events)) => told(|_: &[u8], _: &Peer| Outcome::Done, config, events),
        };
        serve(server, listeners, &mut signals, &screen).await
    })
}

/// A server whose events are told as JSON.
fn told(handler: impl Handler + 'static, config: ServerConfig, events: &Arc<Events>) -> Server {
    Server::new(Told { events: events.clone(), handler }, config).with_observer(events.clone())
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
