//! How many descriptors this process may have open, and how many the programs that it starts may.
//!
//! Apart from the sockets that need them, because the limit is one for the whole process: the usual 1024 are too few for a
//! server, and more than 1024 are a trap for programs that still use select(2), so those get the old limit back.

use std::io;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tokio::process::Command;

use super::sys;

/// The soft limit before it was raised, once it was.
static ORIGINAL: OnceLock<rlim_t> = OnceLock::new();

/// Lets this process have as many descriptors as the hard limit allows, and gives that number: getrlimit(2),
/// `RLIMIT_NOFILE`.
///
/// # Errors
/// As setrlimit(2) has them; the limit is then what it was.
pub fn raise() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        // Whoever raises it a second time has not seen the original.
        ORIGINAL.get_or_init(|| soft);
    }
    Ok(hard)
}

/// The soft limit that this process was started with; `None` if it is still in force.
pub fn original() -> Option<u64> {
    ORIGINAL.get().copied()
}

/// Has a program start with the soft limit that this process was started with.
///
/// Between fork and exec, so that the program never sees another one. The hard limit is never touched.
pub fn restore_in(program: &mut Command) {
    if let Some(soft) = original() {
        sys::limit_open_files(program, soft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_gets_a_limit_of_its_own() {
        let own = || getrlimit(Resource::RLIMIT_NOFILE).expect("the limits");
        let before = own();
        let mut program = Command::new("sh");
        program.args(["-c", "ulimit -Sn; ulimit -Hn"]);
        sys::limit_open_files(&mut program, 77);
        let output = program.output().await.expect("the program ran");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("77\n{}\n", shown(before.1)));
        assert_eq!(own(), before, "this process keeps its own");
    }

    fn shown(limit: rlim_t) -> String {
        if limit == libc::RLIM_INFINITY { "unlimited".to_owned() } else { limit.to_string() }
    }
}
