//! Services by name: from the SRV records of the DNS to hosts and ports, in the order in which they are to be tried (RFC 2782).
//!
//! Apart from [`resolve()`](super::resolve()), since what is found are hosts that have to be looked up in turn; and the order is a draw, which a test must be able to repeat.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::endpoint::{Endpoint, Family, Port, Target};
use super::lookup::Srv;
use super::resolve::{Names, Purpose, check, resolve_host};
use super::{Addr, Error, Result, lookup};

/// The service that a name alone stands for, over TCP: `_wilco._tcp` is put before it.
pub(super) const SERVICE: &str = "_wilco._tcp";

/// The most hosts of a service that are tried: what else the DNS says is left out.
pub(super) const MAX_TARGETS: usize = 64;

/// How long other hosts are waited for once one is found: a name server that says nothing takes longer than a client has.
const OTHERS_PATIENCE: Duration = Duration::from_secs(1);

/// The hosts that offer a service, in the order in which they are to be tried, each with its addresses.
///
/// # Errors
/// As those of [`targets`], or no host has an address. One that cannot be looked up is left out where there is another.
pub(super) async fn hosts(
    service: &Endpoint,
    purpose: Purpose,
    family: Family,
    names: Names,
) -> Result<Vec<(Endpoint, Vec<Addr>)>> {
    check(service, purpose, family, names).await?;
    // All at once: one whose name server is slow does not hold up the others.
    let mut looking = JoinSet::new();
    for (number, host) in targets(service).await?.into_iter().enumerate() {
        looking.spawn(async move {
            let addrs = resolve_host(&host, purpose, family, names).await;
            (number, host, addrs)
        });
    }
    found(service, looking).await
}

/// What is found of hosts that are looked up, in their order.
async fn found<T: 'static>(
    service: &Endpoint,
    mut looking: JoinSet<(usize, Endpoint, Result<T>)>,
) -> Result<Vec<(Endpoint, T)>> {
    let (mut found, mut failed, mut until) = (Vec::new(), None::<Error>, None);
    loop {
        let looked = match until {
            Some(until) => timeout_at(until, looking.join_next()).await.ok().flatten(),
            None => looking.join_next().await,
        };
        match looked {
            Some(Ok((number, host, Ok(addrs)))) => {
                found.push((number, host, addrs));
                until.get_or_insert_with(|| Instant::now() + OTHERS_PATIENCE);
            }
            Some(Ok((_, _, Err(error)))) => {
                tracing::info!("{}: {error}", service.name());
                // That there are no such names is so only where it is so of each.
                if failed.as_ref().is_none_or(|failed| failed.is_absence() && !error.is_absence()) {
                    failed = Some(error);
                }
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    found.sort_by_key(|(number, ..)| *number);
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found.into_iter().map(|(_, host, addrs)| (host, addrs)).collect()),
    }
}

/// The hosts that offer a service, each as an endpoint with the options of the one that names the service, in the order in which they are to be tried.
/// They are asked of the DNS anew each time.
///
/// # Errors
/// The name has no such records, or no name server answers, or the service is decidedly not available there.
async fn targets(service: &Endpoint) -> Result<Vec<Endpoint>> {
    let Target::Srv { socket_type, name } = &service.target else { return Ok(vec![service.clone()]) };
    let records = lookup::services(name).await?;
    let mut seed = [0; 8];
    // Without random numbers it is one order among those that are right.
    let _ = getrandom::fill(&mut seed);
    let endpoint = |host: String, port| {
        let target =
            Target::Inet { socket_type: *socket_type, family: Family::Any, host: Some(host), port: Port::Number(port) };
        Endpoint { target, options: service.options.clone() }
    };
    let found = ordered(records, u64::from_ne_bytes(seed));
    if found.iter().all(|record| record.target == ".") {
        return Err(Error::lookup("look up", "the service is decidedly not available there: its SRV record says so")
            .hinting("its owner has closed it under this name; ask for another name")
            .absent()
            .on(name));
    }
    let hosts = found.into_iter().filter(|record| record.target != ".").take(MAX_TARGETS);
    Ok(hosts.map(|record| endpoint(record.target.trim_end_matches('.').to_owned(), record.port)).collect())
}

/// The order in which hosts are to be tried: the lowest priority first, and of one priority at random, where each is drawn as its weight has it.
fn ordered(mut records: Vec<Srv>, seed: u64) -> Vec<Srv> {
    let mut random = seed;
    // One of weight 0 is drawn last of its priority, but for a small chance: they come first in the sum.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let together = records.iter().take_while(|record| record.priority == priority).count();
        let sum: u64 = records[..together].iter().map(|record| u64::from(record.weight)).sum();
        let drawn = next(&mut random) % (sum + 1);
        let mut running = 0;
        let at = records[..together].iter().position(|record| {
            running += u64::from(record.weight);
            running >= drawn
        });
        ordered.push(records.remove(at.unwrap_or(0)));
    }
    ordered
}

/// 64 bits that nobody needs to be unable to guess: SplitMix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 1, target: target.to_owned() }
    }

    fn order(records: &[Srv], seed: u64) -> String {
        ordered(records.to_vec(), seed).into_iter().map(|record| record.target).collect()
    }

    #[test]
    fn priorities_come_in_their_order_and_weights_are_chances() {
        let records = [srv(20, 5, "z"), srv(10, 1, "a"), srv(10, 3, "b"), srv(10, 0, "c"), srv(5, 0, "f")];
        let seeds = 4000;
        let mut first = [0; 3];
        for seed in 0..seeds {
            let order = order(&records, seed);
            assert!(order.starts_with('f') && order.ends_with('z') && order.len() == 5, "{order}");
            first["abc".find(&order[1..2]).expect("one of priority 10")] += 1;
        }
        // Of 0 to 4, c has 0, a 1, and b the rest.
        for (drawn, of_five) in first.into_iter().zip([1, 3, 1]) {
            let expected = seeds * of_five / 5;
            assert!((expected * 9 / 10..expected * 11 / 10).contains(&drawn), "{first:?}");
        }
        assert_eq!(order(&records, 7), order(&records, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_found_does_not_wait_long_for_others() {
        let service: Endpoint = "srv:example.com".parse().expect("a service");
        let looking = |hosts: &[(u64, bool)]| {
            let mut looking = JoinSet::new();
            for (number, (milliseconds, is_there)) in hosts.iter().copied().enumerate() {
                let host = service.clone();
                looking.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                    let found =
                        if is_there { Ok(number) } else { Err(Error::lookup("look up", "no such host").absent()) };
                    (number, host, found)
                });
            }
            looking
        };
        let numbers = |hosts: Vec<(Endpoint, usize)>| hosts.into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        let started = Instant::now();
        let some = found(&service, looking(&[(30_000, true), (3_900, true), (3_000, true), (1, false)])).await;
        assert_eq!(some.map(numbers).ok(), Some(vec![1, 2]));
        assert_eq!(started.elapsed(), Duration::from_secs(4));
        let none = found(&service, looking(&[(1, false), (9_000, false)])).await;
        assert!(none.is_err_and(|error| error.is_absence()));
        assert_eq!(started.elapsed(), Duration::from_secs(13));
    }

    #[test]
    fn nothing_is_lost_whatever_the_weights() {
        for seed in 0..99 {
            let mut all: Vec<_> = order(&["a", "b", "c"].map(|name| srv(1, u16::MAX, name)), seed).chars().collect();
            all.sort_unstable();
            assert_eq!(all, ['a', 'b', 'c']);
            assert_eq!(order(&[srv(1, 0, "a")], seed), "a");
        }
        assert_eq!(order(&[], 1), "");
    }
}
