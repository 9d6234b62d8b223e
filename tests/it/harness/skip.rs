//! Tests that cannot run everywhere, and the one list of the reasons that are accepted.
//!
//! Apart, because a test that quietly does nothing looks like one that passes: a skip is always told, one with a
//! reason that is not in the list is a failure, and so is every skip where `WILCO_TEST_SKIPS=none` is set.

use std::io::Write;

/// All reasons for which a test may be skipped.
const EXPECTED: &[&str] = &[
    "network namespaces need root",
    "this system lets nobody but root make a network namespace",
    "not a git checkout, so no file is tracked",
];

/// Tells that the test `name` is skipped; the caller returns. Fails for a reason that is not in the list.
#[track_caller]
pub(crate) fn skip(name: &str, reason: &str) {
    assert!(EXPECTED.contains(&reason), "the test {name} may not be skipped because {reason:?}: it is not in EXPECTED");
    let none = std::env::var("WILCO_TEST_SKIPS").is_ok_and(|value| value == "none");
    assert!(!none, "the test {name} would be skipped here: {reason}");
    // Written past the capture of the test runner, which would hide it.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

/// True if the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
