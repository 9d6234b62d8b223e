//! `client --file`: files sent so that each is known to be on the receiver's disk, and how that ends.
//!
//! Apart from messages: a file has a name and a size, and what was sent of it is not lost with the client.

mod shown;
mod sizes;

use crate::net::{Connector, Endpoint, Error};
use crate::service::DeliveryConfig;
use crate::service::files::{FileDelivery, FileNews, Files, Keeps};

use super::args::ClientArgs;
use super::runtime::{Signals, block_on};
use super::{Exit, assured, report};
use shown::Shown;

pub(super) fn run(args: &ClientArgs, servers: Vec<Endpoint>, connector: Connector) -> anyhow::Result<Exit> {
    if args.wait.is_some() || args.retry > 0 {
        return Err(Error::usage("--wait and --retry are for one connection, and files go over as many as it takes")
            .hinting("--timeout says how long to go on; --timeout 0 is for ever")
            .into());
    }
    let config = assured::config(connector, args.timeout, None);
    let config = DeliveryConfig { name: args.name.clone(), ..config };
    let keeps = if args.preserve { Keeps::ModeAndTime } else { Keeps::Nothing };
    let files = Files::find(&args.files, args.file_name.as_deref())?;
    block_on(async {
        let mut signals = Signals::catch()?;
        let mut delivery = FileDelivery::new(servers, config, files, keeps)?;
        let mut shown = Shown::open(args, &delivery)?;
        let ended = send(&mut delivery, &mut signals, &mut shown).await;
        delivery.close().await;
        shown.end(&delivery).await;
        if let Ok(Exit::Signal(_)) = ended {
            report::notice(&format!("interrupted: {}; the same command goes on from there", delivery.reached()));
        }
        ended
    })
}

async fn send(delivery: &mut FileDelivery, signals: &mut Signals, shown: &mut Shown) -> anyhow::Result<Exit> {
    loop {
        let news = tokio::select! {
            news = delivery.step() => news?,
            // What was sent stays with the server: there is nothing to wait for.
            exit = signals.next() => return Ok(exit),
        };
        tokio::select! {
            told = shown.tell(&news, delivery) => told?,
            exit = signals.next() => return Ok(exit),
        }
        if news == FileNews::Done {
            break;
        }
    }
    Ok(match delivery.tally() {
        tally if tally.refused > 0 => Exit::Refused,
        tally if tally.unreadable > 0 => Exit::Failed,
        _ => Exit::Done,
    })
}
