//! Where a process may be hit: the n-th time that a thread of it makes a system call. strace counts them, and does the hitting.
//!
//! Apart from what is done with it, because server and client are hit in the same way.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Command;

use crate::harness::{Launch, skip};

/// Calls that change what is on a disk.
pub(super) const DISK: &[&str] = &["openat", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink"];
/// Calls that change what the other side knows, and those before which something else may have been done.
pub(super) const TALK: &[&str] = &["accept4", "connect", "recvfrom", "sendto", "write"];

/// The `when`-th of these calls in a thread.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Point {
    pub(super) call: String,
    pub(super) when: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.call, self.when)
    }
}

/// What strace does to the calls of a program, as in its option `inject`.
#[derive(Clone, Debug)]
pub(super) struct Injection(String);

impl Injection {
    /// Kills the process before it makes the call.
    pub(super) fn kill(point: &Point) -> Injection {
        Injection(format!("{}:signal=SIGKILL:when={}", point.call, point.when))
    }

    /// Lets calls fail, be late, or whatever strace can do.
    pub(super) fn of(text: &str) -> Injection {
        Injection(text.to_owned())
    }

    /// The program, which strace watches from beside it: what is started, signalled and waited for is the program itself.
    pub(super) fn around(&self, launch: Launch) -> Launch {
        let calls = self.0.split(':').next().unwrap_or_default();
        self.telling(launch, &[calls], Path::new("/dev/null"))
    }

    /// The same, and these calls are written into a file.
    pub(super) fn telling(&self, launch: Launch, calls: &[&str], file: &Path) -> Launch {
        let (trace, inject) = (format!("trace={}", calls.join(",")), format!("inject={}", self.0));
        let file = file.to_str().expect("a path in UTF-8");
        launch.through(["strace", "-D", "-f", "-qq", "-o", file, "-e", &trace, "-e", &inject])
    }
}

/// The program, of which all these calls are written into a file.
pub(super) fn counting(launch: Launch, calls: &[&str], file: &Path) -> Launch {
    let trace = format!("trace={}", calls.join(","));
    let file = file.to_str().expect("a path in UTF-8");
    launch.through(["strace", "-D", "-f", "-qq", "-o", file, "-e", &trace])
}

/// Every point that a run had which wrote this file.
pub(super) fn points(file: &Path) -> Vec<Point> {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in fs::read_to_string(file).expect("what strace has written").lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        // What is not a name begins the end of a call that another one came between.
        let call = rest.trim_start().split_once('(').map(|(call, _)| call);
        if let Some(call) = call.filter(|call| call.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
            *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for ((call, _), count) in counts {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    let each = |(call, count): (String, u64)| (1..=count).map(move |when| Point { call: call.clone(), when });
    most.into_iter().flat_map(each).collect()
}

/// How much is tried, and from which seed.
#[derive(Debug)]
pub(super) struct Choice {
    all: bool,
    seed: u64,
}

impl Choice {
    /// What the environment says. Tells the seed.
    pub(super) fn of(test: &str) -> Choice {
        let seed = env::var("WILCO_FAULTS_SEED").ok().map(|seed| seed.parse().expect("WILCO_FAULTS_SEED is a number"));
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
        let choice = Choice { all: env::var("WILCO_FAULTS").is_ok_and(|value| value == "all"), seed };
        tell(&format!("{test}: WILCO_FAULTS_SEED={seed}"));
        choice
    }

    /// So many of them, or one in so many.
    pub(super) fn count(&self, some: u64, all: u64) -> u64 {
        if self.all { all } else { some }
    }

    /// So many of all, evenly spread, or really all.
    pub(super) fn some<T: Clone>(&self, count: usize, all: &[T]) -> Vec<T> {
        if self.all || all.len() <= count {
            return all.to_vec();
        }
        let offset = usize::try_from(self.seed).unwrap_or_default() % all.len();
        let mut chosen: Vec<usize> = (0..count).map(|index| (offset + index * all.len() / count) % all.len()).collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|index| all[index].clone()).collect()
    }

    pub(super) fn random(&self) -> Random {
        Random(self.seed)
    }
}

/// Numbers that look random and come again from the same seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap_or_default()]
    }
}

/// Says something on standard error: shown when the test fails, or when it is asked for.
#[expect(clippy::print_stderr, reason = "captured by the test runner, which standard error itself is not")]
pub(super) fn tell(text: &str) {
    eprintln!("{text}");
}

/// Whether strace can be used here; if it cannot, the test is skipped.
pub(crate) fn has_strace(test: &str) -> bool {
    let works = Command::new("strace").args(["-D", "-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        skip(test, "there is no strace here");
    }
    works
}
