//! `Memory`: what a process and those it has started use, as the kernel counts it.
//!
//! Apart from the part that asks: a server may be one process or one for each connection, and both are to be told alike.

use std::collections::HashSet;
use std::time::Duration;

use procfs::process::{Process, all_processes};

use crate::net::Error;

/// How long between two looks at the processes of a server, and how many looks are taken at the most.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: usize = 20;

/// What a server's processes use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// Bytes in memory, of pages shared with other processes each its share (`Pss` of smaps_rollup, proc(5)).
    pub bytes: u64,
    /// How many processes these are.
    pub processes: usize,
}

impl Memory {
    /// What a process and its descendants use, once no more of them come or go: those of earlier connections may still be ending.
    ///
    /// # Errors
    /// As for [`Memory::of`].
    pub fn settled(pid: u32) -> Result<Self, Error> {
        let mut last = Self::of(pid)?;
        for _ in 0..LOOKS {
            std::thread::sleep(LOOK);
            let now = Self::of(pid)?;
            if now.processes == last.processes {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// What a process and its descendants use now.
    ///
    /// # Errors
    /// There is no such process, or it is somebody else's.
    pub fn of(pid: u32) -> Result<Self, Error> {
        let number = i32::try_from(pid).map_err(|_| nobody(pid))?;
        let root = Process::new(number).map_err(|_| nobody(pid))?;
        let mut memory = Self { bytes: bytes_of(&root).ok_or_else(|| not_ours(pid))?, processes: 1 };
        for descendant in descendants(number) {
            // One that has ended meanwhile uses nothing.
            if let Some(bytes) = bytes_of(&descendant) {
                memory.bytes += bytes;
                memory.processes += 1;
            }
        }
        Ok(memory)
    }
}

fn bytes_of(process: &Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    rollup.memory_map_rollup.0.first()?.extension.map.get("Pss").copied()
}

fn descendants(pid: i32) -> Vec<Process> {
    let processes = all_processes().into_iter().flatten().filter_map(Result::ok);
    let mut others: Vec<_> = processes.filter_map(|process| Some((process.stat().ok()?.ppid, process))).collect();
    let (mut family, mut found) = (HashSet::from([pid]), Vec::new());
    loop {
        let (children, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|(parent, _)| family.contains(parent));
        if children.is_empty() {
            return found;
        }
        family.extend(children.iter().map(|(_, process)| process.pid()));
        found.extend(children.into_iter().map(|(_, process)| process));
        others = rest;
    }
}

fn nobody(pid: u32) -> Error {
    Error::usage(format!("there is no process {pid}")).hinting("give the process of a server on this machine")
}

fn not_ours(pid: u32) -> Error {
    Error::usage(format!("the memory of process {pid} cannot be seen"))
        .hinting("it is somebody else's: run this as its user or as root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_its_children_are_counted() {
        let own = Memory::of(std::process::id()).expect("one's own memory");
        assert!(own.bytes > 100 * 1024, "{own:?}");
        assert!(own.processes >= 1);
        assert!(Memory::of(u32::MAX).is_err());
    }

    #[test]
    fn what_a_process_takes_is_seen() {
        let before = Memory::of(std::process::id()).expect("one's own memory").bytes;
        let much = std::hint::black_box(vec![1_u8; 64 * 1024 * 1024]);
        let after = Memory::of(std::process::id()).expect("one's own memory").bytes;
        assert!(after > before + 32 * 1024 * 1024, "{before} {after} {}", much.len());
    }
}
