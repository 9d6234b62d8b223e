//! Which other processes have a file open: what an error tells beyond that somebody has.
//!
//! Apart, because it is a look through /proc (proc_pid_fd(5)), made only once something has failed. It is a guess at best: processes come and go, and those of
//! other users are hidden.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use procfs::process::{Process, all_processes};

/// How many processes are named.
const NAMED: usize = 3;

/// The other processes that have a file open, such as `sqlite3 (pid 71), vi (pid 72)`; of many the first. None if none is seen.
pub(super) fn others(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    let is_it = |data: fs::Metadata| (data.dev(), data.ino()) == (file.dev(), file.ino());
    let own = std::process::id();
    let holds = |process: &Process| {
        process.pid().unsigned_abs() != own
            && fs::read_dir(format!("/proc/{}/fd", process.pid())).is_ok_and(|descriptors| {
                descriptors.flatten().any(|descriptor| fs::metadata(descriptor.path()).is_ok_and(is_it))
            })
    };
    let named = |process: Process| Some(format!("{} (pid {})", process.stat().ok()?.comm, process.pid()));
    let found: Vec<_> = all_processes().ok()?.flatten().filter(holds).filter_map(named).take(NAMED).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn another_process_is_named_and_this_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let file = fs::File::create(&path).expect("a file");
        assert_eq!(others(&path), None);
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(file).spawn().expect("start cat");
        let expected = format!("cat (pid {})", cat.id());
        assert_eq!(others(&path), Some(expected));
        drop(cat.stdin.take());
        cat.wait().expect("it ends");
    }
}
