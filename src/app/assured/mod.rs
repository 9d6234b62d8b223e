//! `client --assured`: messages delivered exactly once, and how that ends.
//!
//! Apart from the plain client, which has one connection and an answer to each message: here connections come and go, and what counts is which messages
//! are final.

mod hints;
mod shown;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::net::{Connector, Endpoint, Error};
use crate::service::delivery::PATIENCE;
use crate::service::spool::{Spool, SpoolConfig, Unsettled};
use crate::service::{self, Batch, Delivery, DeliveryConfig, News, Source};
use crate::wire::assured::{Code, Level, Start};

use super::args::{ClientArgs, LostSession};
use super::client::Input;
use super::runtime::{Signals, block_on};
use super::{Exit, report};
pub(super) use hints::hint;
pub(super) use shown::{Shown, pause};

/// The reason of dead letters that were given up with their session.
const SKIPPED: &str = "its session was lost, and what it had not acknowledged was skipped";

/// Where an assured delivery has its messages from.
pub(super) trait Feed: Source {
    /// Takes no more.
    fn close(&mut self);
    /// Told again and again how far the delivery is.
    fn follow(&mut self, delivery: &Delivery);
    /// Why it has ended before its end. Asked once there are no more messages.
    fn trouble(&mut self) -> Option<anyhow::Error>;
}

/// The messages of a client: its arguments, or its input.
struct Typed {
    input: Input,
    /// The last message of which the prompt knows that it is final.
    answered: u64,
}

pub(super) fn run(args: &ClientArgs, servers: Vec<Endpoint>, connector: Connector) -> anyhow::Result<Exit> {
    if args.wait.is_some() || args.retry > 0 {
        return Err(Error::usage(
            "--wait and --retry are for one connection, and assured delivery makes as many as it takes",
        )
        .hinting("--timeout says how long to go on; --timeout 0 is for ever")
        .into());
    }
    let config = DeliveryConfig { name: args.name.clone(), ..config(connector, args.timeout, args.require) };
    block_on(async {
        let mut signals = Signals::catch()?;
        let (mut delivery, _) = open(&servers, &config, args.spool.as_deref(), None).await?;
        let mut typed = Typed { input: Input::open(args)?, answered: delivery.next_number() - 1 };
        let mut shown = Shown::open(&args.common, &args.output, args.framing, io::stdin().is_terminal())?;
        let mut policy = args.lost_session;
        let mut skipped = 0;
        loop {
            let ended = converse(&mut delivery, &mut typed, &mut signals, &mut shown).await;
            let lost = ended.as_ref().err().and_then(lost);
            match (ended, policy.take().zip(lost)) {
                (Err(error), Some(policy)) => {
                    // The new session has what the old one is closed with.
                    let _ = delivery.close().await;
                    shown.say(&format!("{error}: a new session begins"));
                    (delivery, skipped) = open(&servers, &config, args.spool.as_deref(), Some(policy)).await?;
                    if skipped > 0 {
                        shown.say(&format!("{} put with the dead letters", messages_were(skipped)));
                    }
                    typed.answered = delivery.next_number() - 1;
                }
                (ended, _) => {
                    return match finish(ended, &mut delivery, &mut shown).await? {
                        // What was skipped was not delivered.
                        Exit::Done if skipped > 0 => Ok(Exit::Refused),
                        exit => Ok(exit),
                    };
                }
            }
        }
    })
}

/// The settings of a delivery for these arguments.
pub(super) fn config(connector: Connector, timeout: Option<Duration>, level: Option<Level>) -> DeliveryConfig {
    let patience = Some(timeout.unwrap_or(PATIENCE)).filter(|patience| !patience.is_zero());
    DeliveryConfig { connector, patience, level, ..DeliveryConfig::default() }
}

/// Delivers what is fed to it to its end.
pub(super) async fn deliver(
    mut delivery: Delivery,
    feed: &mut impl Feed,
    signals: &mut Signals,
    shown: &mut Shown,
) -> anyhow::Result<Exit> {
    let ended = converse(&mut delivery, feed, signals, shown).await;
    finish(ended, &mut delivery, shown).await
}

async fn finish(ended: anyhow::Result<Exit>, delivery: &mut Delivery, shown: &mut Shown) -> anyhow::Result<Exit> {
    let closed = delivery.close().await;
    shown.end(delivery).await;
    let exit = ended?;
    closed?;
    Ok(exit)
}

fn messages_were(count: u64) -> String {
    match count {
        1 => "1 message was".to_owned(),
        _ => format!("{count} messages were"),
    }
}

/// A delivery from the spool, if there is one; in a new session if the old one is lost. Says how many messages were skipped for that.
async fn open(
    servers: &[Endpoint],
    config: &DeliveryConfig,
    spool: Option<&Path>,
    lost: Option<(LostSession, Code)>,
) -> service::Result<(Delivery, u64)> {
    let (servers, config) = (servers.to_vec(), config.clone());
    let Some(directory) = spool else { return Ok((Delivery::new(servers, config)?, 0)) };
    let spool = Spool::open(directory, SpoolConfig::default())?;
    let Start { first, next, .. } = spool.start();
    let mut skipped = 0;
    match lost {
        None => {}
        Some((LostSession::Resend, _)) => drop(spool.renew(Unsettled::Resend).await?),
        Some((LostSession::Skip, code)) => {
            drop(spool.renew(Unsettled::Skip(code, SKIPPED.to_owned())).await?);
            skipped = next - first;
        }
    }
    Ok((Delivery::with_spool(servers, config, spool, directory)?.once_needed(), skipped))
}

/// Why a session cannot go on, where a new one may. Where another client goes on with it, that one has to be found.
fn lost(error: &anyhow::Error) -> Option<Code> {
    match error.downcast_ref() {
        Some(service::Error::LostSession(lost)) => Some(lost.code).filter(|code| *code != Code::TAKEN_OVER),
        _ => None,
    }
}

/// Delivers until there is no more. A signal lets what was sent be acknowledged; a second one does not.
async fn converse(
    delivery: &mut Delivery,
    feed: &mut impl Feed,
    signals: &mut Signals,
    shown: &mut Shown,
) -> anyhow::Result<Exit> {
    let mut signalled = None;
    loop {
        let news = tokio::select! {
            news = delivery.step(feed) => news,
            exit = signals.next() => {
                feed.close();
                let until = last_on_its_way(delivery);
                if signalled.replace((exit, until)).is_some() || until <= delivery.settled() {
                    return Ok(interrupted(exit, delivery, shown).await);
                }
                let waiting = until - delivery.settled();
                shown.say(&report::waits_for(waiting));
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
        feed.follow(delivery);
    }
    if let Some(error) = feed.trouble() {
        return Err(error);
    }
    Ok(if delivery.counts().refused > 0 { Exit::Refused } else { Exit::Done })
}

impl Source for Typed {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        self.input.messages.poll_next(cx)
    }
}

impl Feed for Typed {
    fn close(&mut self) {
        self.input.messages.close();
    }

    fn follow(&mut self, delivery: &Delivery) {
        if let Some(prompt) = &self.input.prompt {
            // Where nobody answers now, what is in the spool is as good as sent.
            let through = match delivery.counts().spool.is_some() && !delivery.is_open() {
                true => delivery.next_number() - 1,
                false => delivery.settled(),
            };
            for _ in self.answered..through {
                // The prompt may have ended meanwhile.
                let _ = prompt.answered.send(());
            }
            self.answered = self.answered.max(through);
        }
    }

    fn trouble(&mut self) -> Option<anyhow::Error> {
        self.input.trouble.take().map(Into::into)
    }
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
