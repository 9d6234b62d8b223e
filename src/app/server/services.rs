//! What a server does with what comes: one of the handlers, chosen by the arguments.

use std::sync::Arc;

use super::save::{self, Names};
use crate::app::args::ServerArgs;
use crate::app::json::{Events, Nothing, Told};
use crate::app::programs::{ProgramHandler, Programs};
use crate::app::screen::StandardOutput;
use crate::net::{Endpoint, Error, Type};
use crate::service::save::{FileStore, SaveDirectory};
use crate::service::store::SqliteStore;
use crate::service::{Chat, ConnectionHandler, Display, Handler, Observer, Reply, Server, ServerConfig, Standard};
use crate::wire::Framing;

/// The server that the arguments ask for.
pub(super) fn chosen(
    args: &ServerArgs,
    config: ServerConfig,
    programs: Option<Programs>,
    screen: &Arc<StandardOutput>,
    events: Option<&Arc<Events>>,
) -> Server {
    let of = |handler: Box<dyn Handler>, config: ServerConfig| match events {
        None => Server::new(handler, config),
        Some(events) => Server::new(Told { events: events.clone(), handler }, config).with_observer(events.clone()),
    };
    let of_connections = |handler: Box<dyn ConnectionHandler>, config: ServerConfig| {
        let server = Server::of_connections(handler, config);
        match events {
            None => server,
            Some(events) => server.with_observer(events.clone()),
        }
    };
    match (programs.map(|programs| programs.handler), args.service, &args.reply) {
        (Some(ProgramHandler::ForMessages(run)), ..) => of(Box::new(run), config),
        (Some(ProgramHandler::ForConnections(exec)), ..) => of_connections(Box::new(exec), config),
        (_, Some(service), _) => {
            of(Box::new(Standard::new(service)), standard(config)).with_connections(Standard::new(service))
        }
        _ if args.chat => {
            let chat = Chat::new(config.framing, config.max_message.unwrap_or(config.framing.default_limit()));
            of_connections(Box::new(chat), config)
        }
        (_, _, Some(text)) => of(Box::new(Reply(text.clone().into())), config),
        // What would be displayed is in the events.
        _ if events.is_some() => of(Box::new(Nothing), config),
        _ => of(Box::new(Display(screen.clone())), config),
    }
}

/// The server that puts messages into a store.
pub(super) fn storing(store: &Arc<SqliteStore>, config: ServerConfig, events: Option<&Arc<Events>>) -> Server {
    let server = Server::storing(store.clone(), config);
    match events {
        None => server,
        Some(events) => server.with_observer(events.clone()),
    }
}

/// The server that saves files.
pub(super) fn saving(
    args: &ServerArgs,
    directory: SaveDirectory,
    config: ServerConfig,
    screen: &Arc<StandardOutput>,
    events: Option<&Arc<Events>>,
) -> Server {
    let told: Arc<dyn Observer> = match events {
        Some(events) => events.clone(),
        None => Arc::new(Names(screen.clone())),
    };
    let store = FileStore::new(directory, save::config(&args.saving), Some(told));
    let server = Server::storing(Arc::new(store), config);
    match events {
        None => server,
        Some(events) => server.with_observer(events.clone()),
    }
}

/// A simple service is silent about what it has no answer for.
fn standard(config: ServerConfig) -> ServerConfig {
    ServerConfig { acknowledgement: None, max_message: config.max_message.or(Some(0)), ..config }
}

/// Whether clients can chat there: line by line, over connections.
pub(super) fn check_chat(framing: Framing, endpoints: &[Endpoint]) -> Result<(), Error> {
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
