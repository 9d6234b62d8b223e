//! Tests that cannot run everywhere, and the one place with the reasons that are accepted.
//!
//! Apart, because a test that quietly does nothing looks like one that passes: a skip is always told, one with a
//! reason that is not listed here is a failure.

use std::io::Write;

/// Reasons that nothing changes that could be installed.
const GIVEN: &[&str] = &[
    "this kernel has no loopback for vsock (vsock_loopback)",
    "not a git checkout, so no file is tracked",
    "there is no systemd-analyze here",
    "this kernel has no landlock",
];

/// Reasons that lie in how the tests are run: they are not accepted where `WILCO_TEST_SKIPS=none` is set.
const SURROUNDINGS: &[&str] = &[
    "network namespaces need root",
    "this system lets nobody but root make a network namespace",
    "only root may become another user",
    "only root may mount a file system",
    "there is no strace here",
];

/// Tells that the test `name` is skipped; the caller returns. Fails for a reason that is not in the list.
#[track_caller]
pub(crate) fn skip(name: &str, reason: &str) {
    let all_run = std::env::var("WILCO_TEST_SKIPS").is_ok_and(|value| value == "none");
    let accepted = GIVEN.contains(&reason) || (!all_run && SURROUNDINGS.contains(&reason));
    assert!(accepted, "the test {name} may not be skipped here because {reason:?}");
    // Written past the capture of the test runner, which would hide it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

/// True if the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
