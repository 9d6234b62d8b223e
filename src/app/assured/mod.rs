//! `client --assured`: messages delivered exactly once, and how that ends.
//!
//! Apart from the plain client, which has one connection and an answer to each message: here connections come and go, and what counts is which messages
//! are final.

mod hints;
mod shown;

use std::io;
use std::path::Path;

use crate::net::{Connector, Endpoint, Error};
use crate::service::delivery::PATIENCE;
use crate::service::spool::{Spool, SpoolConfig, Unsettled};
use crate::service::{self, Delivery, DeliveryConfig, News};
use crate::wire::assured::Code;

use super::args::{ClientArgs, LostSession};
use super::client::Input;
use super::runtime::{Signals, block_on};
use super::{Exit, report};
pub(super) use hints::hint;
use shown::Shown;

/// The reason of dead letters that were given up with their session.
const SKIPPED: &str = "its session was lost, and what it had not acknowledged was skipped";

pub(super) fn run(args: &ClientArgs, servers: Vec<Endpoint>, connector: Connector) -> anyhow::Result<Exit> {
    if args.wait.is_some() || args.retry > 0 {
        return Err(Error::usage(
            "--wait and --retry are for one connection, and assured delivery makes as many as it takes",
        )
        .hinting("--timeout says how long to go on; --timeout 0 is for ever")
        .into());
    }
    let patience = Some(args.timeout.unwrap_or(PATIENCE)).filter(|patience| !patience.is_zero());
    let config = DeliveryConfig { connector, patience, name: args.name.clone(), ..DeliveryConfig::default() };
    block_on(async {
        let mut signals = Signals::catch()?;
        let mut delivery = open(&servers, &config, args.spool.as_deref(), None).await?;
        let mut input = Input::open(args)?;
        let mut shown = Shown::open(args)?;
        let mut policy = args.lost_session;
        loop {
            let ended = converse(&mut delivery, &mut input, &mut signals, &mut shown).await;
            let closed = delivery.close().await;
            match (ended, policy.take()) {
                (Err(error), Some(policy)) if is_lost(&error) => {
                    shown.say(&format!("{error}: a new session begins"));
                    delivery = open(&servers, &config, args.spool.as_deref(), Some(policy)).await?;
                }
                (ended, _) => {
                    shown.end(&delivery).await;
                    let exit = ended?;
                    closed?;
                    return Ok(exit);
                }
            }
        }
    })
}

/// A delivery from the spool, if there is one; in a new session if the old one is lost.
async fn open(
    servers: &[Endpoint],
    config: &DeliveryConfig,
    spool: Option<&Path>,
    lost: Option<LostSession>,
) -> service::Result<Delivery> {
    let (servers, config) = (servers.to_vec(), config.clone());
    let Some(directory) = spool else { return Delivery::new(servers, config) };
    let spool = Spool::open(directory, SpoolConfig::default())?;
    match lost {
        None => {}
        Some(LostSession::Resend) => drop(spool.renew(Unsettled::Resend).await?),
        Some(LostSession::Skip) => {
            drop(spool.renew(Unsettled::Skip(Code::UNKNOWN_SESSION, SKIPPED.to_owned())).await?);
        }
    }
    Delivery::with_spool(servers, config, spool, directory)
}

/// Whether a new session may go on where this one cannot. Where another client goes on with it, that one has to be found.
fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(service::Error::LostSession(lost)) if lost.code != Code::TAKEN_OVER)
}

/// Delivers until there is no more. A signal lets what was sent be acknowledged; a second one does not.
async fn converse(
    delivery: &mut Delivery,
    input: &mut Input,
    signals: &mut Signals,
    shown: &mut Shown,
) -> anyhow::Result<Exit> {
    let mut signalled = None;
    let is_spooled = delivery.counts().spool.is_some();
    let mut answered = delivery.next_number() - 1;
    loop {
        let news = tokio::select! {
            news = delivery.step(input) => news,
            exit = signals.next() => {
                input.messages.close();
                let until = last_on_its_way(delivery);
                if signalled.replace((exit, until)).is_some() || until <= delivery.settled() {
                    return Ok(interrupted(exit, delivery, shown).await);
                }
                let waiting = until - delivery.settled();
                shown.say(&format!("waiting for {waiting} acknowledgements; a second signal ends at once"));
                continue;
            }
        };
        let news = match (news, signalled) {
            // What the signal cut short is no failure of the delivery.
            (Err(_), Some((exit, _))) => return Ok(interrupted(exit, delivery, shown).await),
            (news, _) => news?,
        };
        tokio::select! {
            told = shown.tell(&news, delivery) => told?,
            // Whoever does not read what is shown does not keep the program from ending.
            exit = signals.next() => return Ok(interrupted(exit, delivery, shown).await),
        }
        match (news, signalled) {
            (News::Done, Some((exit, _))) => return Ok(exit),
            (News::Done, None) => break,
            (_, Some((exit, until))) if until <= delivery.settled() => {
                return Ok(interrupted(exit, delivery, shown).await);
            }
            _ => {}
        }
        if let Some(prompt) = &input.prompt {
            // Where nobody answers now, what is in the spool is as good as sent.
            let through = match is_spooled && !delivery.is_open() {
                true => delivery.next_number() - 1,
                false => delivery.settled(),
            };
            for _ in answered..through {
                // The prompt may have ended meanwhile.
                let _ = prompt.answered.send(());
            }
            answered = answered.max(through);
        }
    }
    if let Some(error) = input.trouble.take() {
        return Err(error.into());
    }
    Ok(if delivery.counts().refused > 0 { Exit::Refused } else { Exit::Done })
}

/// The last message that is waited for after a signal: of a spool what was sent to a server that is there, for the others are for another time.
fn last_on_its_way(delivery: &Delivery) -> u64 {
    match (delivery.counts().spool, delivery.is_open()) {
        (Some(_), false) => 0,
        (Some(_), true) => delivery.sent(),
        (None, _) => delivery.next_number() - 1,
    }
}

async fn interrupted(exit: Exit, delivery: &mut Delivery, shown: &mut Shown) -> Exit {
    // What was taken from the input is in the spool then.
    if let Err(error) = delivery.close().await {
        report::notice(&error.to_string());
    }
    let counts = delivery.counts();
    if counts.waiting() > 0 {
        shown.say(&format!("interrupted: {counts}"));
    }
    exit
}

/// A reader that has gone has seen enough.
fn unless_gone(shown: io::Result<()>) -> io::Result<()> {
    match shown {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => shown,
    }
}
