//! Sockets that come from elsewhere: passed by a parent process, by systemd, or made for a program that is started.
//!
//! Apart from connecting and listening, because no address is involved: the kernel socket is there already.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::process::Stdio;

use nix::errno::Errno;
use socket2::Type;

use super::{Error, Result, Socket, open_files, sys};

/// What a supervisor such as systemd tells the process that it has started, and that one alone: sd_listen_fds(3), sd_notify(3),
/// sd_watchdog_enabled(3). Programs that are started from here must not take it for theirs.
pub const SUPERVISOR_VARIABLES: [&str; 6] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: RawFd = 3;

/// The socket with this number that the process was started with.
pub(super) fn socket(fd: RawFd) -> Result<Socket> {
    let owned = sys::duplicate(fd).map_err(|error| {
        Error::system("take over a socket", error)
            .hinting("the program that starts this one must pass it the descriptor")
    })?;
    Socket::from_fd(owned).map_err(|error| match error.errno() {
        Some(Errno::ENOTSOCK) => error.hinting("the descriptor must be that of a socket"),
        _ => error,
    })
}

/// The sockets that systemd passed, those of the given name only if there is one.
pub(super) fn from_systemd(name: Option<&str>) -> Result<Vec<Socket>> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let passed = passed_by_systemd(
        std::process::id(),
        &variable("LISTEN_PID"),
        &variable("LISTEN_FDS"),
        &variable("LISTEN_FDNAMES"),
        name,
    )?;
    passed.into_iter().map(socket).collect()
}

/// Keeps the descriptors that this process was started with, but for the standard ones, from the programs that it starts: a
/// listening socket that was passed would stay open in them.
///
/// # Errors
/// The system does not tell which there are (proc(5), `/proc/self/fd`).
pub fn keep_from_programs() -> Result<()> {
    let listed = std::fs::read_dir("/proc/self/fd");
    let listed = listed.map_err(|error| Error::system("list open descriptors", error).on("/proc/self/fd"))?;
    let numbers = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    // All others that are open are closed in programs anyway. The one of the list itself has gone when its turn comes.
    for fd in numbers.filter(|fd| *fd >= FIRST_PASSED).collect::<Vec<_>>() {
        let _ = sys::close_on_exec(fd);
    }
    Ok(())
}

/// A socket whose other end is the standard input and output of a program. Its words are split as a shell splits them.
pub(super) fn program(command: &str) -> Result<Socket> {
    let words = shlex::split(command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| Error::usage(format!("`{command}` is no command")).hinting("a quotation mark is not closed"))?;
    let (ours, theirs) = Socket::pair(Type::STREAM)?;
    let failed = |error| Error::system("start", error).on(&words[0]);
    // The program gets ordinary, blocking descriptors.
    theirs.raw().set_nonblocking(false).map_err(failed)?;
    let (input, output) = (sys_clone(&theirs).map_err(failed)?, sys_clone(&theirs).map_err(failed)?);
    let mut program = tokio::process::Command::new(&words[0]);
    for variable in SUPERVISOR_VARIABLES {
        program.env_remove(variable);
    }
    open_files::restore_in(&mut program);
    program
        .args(&words[1..])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .spawn()
        .map_err(|error| failed(error).hinting("give the path of a program, and its arguments after it"))?;
    Ok(ours)
}

fn sys_clone(socket: &Socket) -> io::Result<OwnedFd> {
    socket.raw().try_clone().map(OwnedFd::from)
}

fn passed_by_systemd(own_pid: u32, pid: &str, count: &str, names: &str, wanted: Option<&str>) -> Result<Vec<RawFd>> {
    let none = || {
        Error::usage("systemd has passed no socket")
            .hinting("start it from a .service unit that has a .socket unit of the same name")
    };
    let count: RawFd = count.parse().map_err(|_| none())?;
    if pid.parse() != Ok(own_pid) || count < 1 {
        return Err(none());
    }
    let names: Vec<_> = names.split(':').collect();
    let fds = FIRST_PASSED..FIRST_PASSED.saturating_add(count);
    let Some(wanted) = wanted else { return Ok(fds.collect()) };
    let named: Vec<_> = fds.zip(&names).filter(|(_, name)| **name == wanted).map(|(fd, _)| fd).collect();
    if named.is_empty() {
        return Err(Error::usage(format!("systemd has passed no socket of the name `{wanted}`"))
            .hinting(format!("there are: {}", names.join(", "))));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_chosen_by_name() {
        let passed = |pid, count, wanted| passed_by_systemd(7, pid, count, "web:admin:web", wanted);
        assert_eq!(passed("7", "3", None).expect("three"), [3, 4, 5]);
        assert_eq!(passed("7", "3", Some("web")).expect("two"), [3, 5]);
        assert!(passed("7", "3", Some("mail")).is_err());
        assert!(passed("8", "3", None).is_err(), "meant for another process");
        assert!(passed("7", "", None).is_err());
        assert!(passed("7", "0", None).is_err());
    }
}
