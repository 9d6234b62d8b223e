//! `messages replay`: what was stored, sent on to another server as an assured client sends its input.
//!
//! Apart from what only looks at a store: here are servers, sessions and their statuses.

use std::task::{Context, Poll};

use crate::app::args::{self, ReplayArgs};
use crate::app::assured::{self, Feed, Shown};
use crate::app::runtime::{Signals, block_on};
use crate::app::traffic::Traffic;
use crate::app::{Exit, archives, report};
use crate::net::Connector;
use crate::service::replay::{Extent, Replay, ReplayError};
use crate::service::spool::{Spool, SpoolConfig};
use crate::service::{self, Batch, Delivery, Source};
use crate::wire::Framing;

/// The messages of a store.
struct Stored(Replay);

pub(super) fn run(args: &ReplayArgs) -> anyhow::Result<Exit> {
    report::start(args.common.verbosity(), args.output.json);
    let servers = args::client_endpoints(&args.addresses)?;
    let archive = archives::open(&args.store)?;
    let selection = super::selection(&args.choice);
    let connector = Connector {
        timeout: args.connect_timeout,
        local: None,
        family: args.common.family(),
        names: args.common.names(),
        tap: Traffic::tap(args.output.hex, args.output.dump.as_deref())?,
    };
    let config = assured::config(connector, Some(args.timeout), Some(args.require));
    let extent = if args.follow { Extent::Future } else { Extent::Present };
    if args.follow && args.spool.is_none() && args.common.verbosity().says_notices() {
        report::notice("without --spool DIR it is kept nowhere how far it is: another start sends all of it again");
    }
    block_on(async {
        let mut signals = Signals::catch()?;
        let (replay, delivery) = match &args.spool {
            None => (Replay::new(archive, selection, args.last, extent), Delivery::new(servers, config)?),
            Some(directory) => {
                let spool = Spool::open(directory, SpoolConfig::default()).map_err(service::Error::from)?;
                let replay = Replay::with_spool(archive, selection, args.last, extent, &spool, directory).await;
                (replay, Delivery::with_spool(servers, config, spool, directory)?)
            }
        };
        let mut stored = Stored(replay.map_err(described)?);
        // What is sent back are the replies of a program, a line each.
        let mut shown = Shown::open(&args.common, &args.output, Framing::Line, false)?;
        assured::deliver(delivery, &mut stored, &mut signals, &mut shown).await
    })
}

impl Source for Stored {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.0.poll_next(cx)
    }
}

impl Feed for Stored {
    fn close(&mut self) {
        self.0.close();
    }

    fn follow(&mut self, delivery: &Delivery) {
        self.0.follow(delivery.settled());
    }

    fn trouble(&mut self) -> Option<anyhow::Error> {
        self.0.trouble().map(described)
    }
}

/// The error as those are of which the status and the hint are known.
fn described(error: ReplayError) -> anyhow::Error {
    match error {
        ReplayError::Archive(error) => error.into(),
        ReplayError::Spool(error) => service::Error::from(error).into(),
        ReplayError::Usage(error) => error.into(),
    }
}
