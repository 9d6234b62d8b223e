//! `Sandbox`: what a server cannot do any more once it serves, whoever should get hold of it.
//!
//! Apart from the privileges of its user: this holds for everybody, root included, and is the kernel's word (landlock(7),
//! seccomp(2)). It is best effort: a kernel that knows less keeps less, and `-v` says what is in force.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// The system calls that no server needs, and no program that one starts: of debuggers and loaders of kernels, of those who
/// mount, and of those who look into other processes. They fail with `EPERM`.
///
/// A list of what is denied, not of what is allowed: it must not break when the C library learns a new call.
const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

/// What a server that is in one may still do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Sandbox {
    /// Whether the server starts programs.
    pub(super) programs: Programs,
    /// Directories in which files may be removed: those of its own socket files.
    pub(super) removes_in: Vec<PathBuf>,
    /// Files, and directories with all that is in them, that may be written: those of a store.
    pub(super) writes_to: Vec<PathBuf>,
}

/// Whether a server starts programs. What they may write and start in their turn nobody can know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Programs {
    #[default]
    None,
    Some,
}

/// What of a sandbox the kernel keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    files: bool,
    calls: bool,
}

impl Sandbox {
    /// Enters it for good, with every thread that is started from now on. Whatever the server needs is open by then; files
    /// can still be read.
    pub(super) fn enter(&self) -> Kept {
        let is_kept = |what: &str, result: Result<(), String>| {
            if let Err(error) = &result {
                tracing::info!("without {what}: {error}");
            }
            result.is_ok()
        };
        Kept {
            files: self.programs == Programs::None && is_kept("landlock", self.restrict_files()),
            calls: is_kept("seccomp", deny_calls()),
        }
    }

    /// No file is executed, written, made or removed but where it was said.
    fn restrict_files(&self) -> Result<(), String> {
        match self.landlocked().map_err(|error| error.to_string())? {
            RulesetStatus::NotEnforced => Err("this kernel has none".to_owned()),
            RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
        }
    }

    fn landlocked(&self) -> Result<RulesetStatus, RulesetError> {
        let writing = AccessFs::from_write(ABI::V3);
        let mut ruleset = Ruleset::default().handle_access(writing | AccessFs::Execute)?.create()?;
        let device = [(Path::new("/dev/null"), AccessFs::WriteFile.into())];
        let removing = self.removes_in.iter().map(|path| (path.as_path(), AccessFs::RemoveFile.into()));
        let written = self.writes_to.iter().map(|path| (path.as_path(), writing));
        for (path, access) in device.into_iter().chain(removing).chain(written) {
            // What cannot be opened, or is not there, needs no permission.
            let Ok(opened) = PathFd::new(path) else { continue };
            let access: BitFlags<AccessFs> = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V3) };
            ruleset = ruleset.add_rule(PathBeneath::new(opened, access))?;
        }
        Ok(ruleset.restrict_self()?.ruleset)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.then(|| "no file is written and no program run (landlock)".to_owned());
        let calls = self.calls.then(|| format!("{} system calls are denied (seccomp)", DENIED.len()));
        let kept: Vec<_> = files.into_iter().chain(calls).collect();
        match kept.is_empty() {
            true => f.write_str("none: this kernel has nothing for one"),
            false => f.write_str(&kept.join(", ")),
        }
    }
}

fn deny_calls() -> Result<(), String> {
    seccompiler::apply_filter_all_threads(&denial()?).map_err(|error| error.to_string())
}

fn denial() -> Result<BpfProgram, String> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(|_| "not on this kind of processor".to_owned())?;
    let rules: BTreeMap<_, _> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).map_err(|error| error.to_string())?;
    filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::process::Command;

    use nix::errno::Errno;
    use nix::sys::time::TimeSpec;
    use nix::time::{ClockId, clock_settime};

    use super::*;

    /// In a thread of its own: what is once given up does not come back.
    fn apart(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().expect("the thread has found all as it should be");
    }

    #[test]
    fn files_are_read_and_nothing_else() {
        apart(|| {
            let outside = tempfile::tempdir().expect("a directory");
            let (own, store) = (outside.path().join("own"), outside.path().join("store"));
            for directory in [&own, &store] {
                fs::create_dir(directory).expect("a directory");
            }
            for file in [outside.path().join("file"), own.join("socket"), own.join("file")] {
                fs::write(file, "text").expect("a file");
            }
            let mut open = File::options().append(true).open(own.join("file")).expect("an open file");
            let (removes_in, writes_to) = (vec![own.clone()], vec![store.clone(), "/nowhere/to/be/found".into()]);
            let sandbox = Sandbox { programs: Programs::None, removes_in, writes_to };
            if let Err(error) = sandbox.restrict_files() {
                assert!(error.contains("this kernel has none"), "{error}");
                return;
            }
            let denied = |result: io::Result<()>| result.expect_err("denied").kind() == io::ErrorKind::PermissionDenied;
            assert!(denied(File::create(outside.path().join("new")).map(drop)));
            assert!(denied(File::create(outside.path().join("file")).map(drop)));
            assert!(denied(File::options().append(true).open(outside.path().join("file")).map(drop)));
            assert!(denied(File::options().append(true).open(own.join("file")).map(drop)));
            assert!(denied(fs::remove_file(outside.path().join("file"))));
            assert!(denied(fs::create_dir(own.join("new"))));
            assert!(denied(fs::rename(own.join("file"), own.join("other"))));
            assert!(denied(Command::new("true").status().map(drop)));
            assert_eq!(fs::read_to_string(outside.path().join("file")).expect("read"), "text");
            assert!(fs::read_dir("/etc").expect("list").count() > 0);
            File::options().write(true).open("/dev/null").expect("the null device");
            io::Write::write_all(&mut open, b"more").expect("what is open stays open");
            fs::remove_file(own.join("socket")).expect("remove");
            fs::write(store.join("file"), "text").expect("write");
            fs::rename(store.join("file"), store.join("other")).expect("rename");
        });
    }

    #[test]
    fn denied_calls_are_not_permitted() {
        // No such time can be set by anybody, so that nothing happens where the call is let through.
        let set_time = || clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(-1, 0));
        assert_eq!(set_time(), Err(Errno::EINVAL));
        apart(move || {
            nix::sys::prctl::set_no_new_privs().expect("no new privileges");
            seccompiler::apply_filter(&denial().expect("a filter")).expect("it is in force");
            assert_eq!(set_time(), Err(Errno::EPERM));
            // What a server does is let through.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
            assert!(Command::new("true").status().expect("a program").success());
        });
    }

    #[test]
    fn a_denied_call_is_listed_once() {
        let mut seen = DENIED.to_vec();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), DENIED.len());
    }

    #[test]
    fn it_says_what_is_in_force() {
        let said = |files, calls| Kept { files, calls }.to_string();
        assert!(said(true, true).contains("landlock") && said(true, true).contains("seccomp"));
        assert!(!said(false, true).contains("landlock"));
        assert!(said(false, false).starts_with("none"));
    }
}
