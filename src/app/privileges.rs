//! `Account`: the user and groups that a server runs as once all that needs privileges has been done.
//!
//! Apart from the server, because every step of giving privileges up must be made, in this order, and seen to have worked.

use std::ffi::CString;
use std::fs::File;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getresgid, getresuid};
use nix::unistd::{fchown, initgroups, setgroups, setresgid, setresuid};

use crate::net::{Error, Result};
use crate::service::Command;

/// A user, its group, and the groups that the system has it in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Account {
    /// As it is known to the system; a number alone need not be.
    name: Option<CString>,
    user: Uid,
    group: Gid,
    home: Option<PathBuf>,
}

impl Account {
    /// The account of a user, by name or number; its own group, unless another is named.
    ///
    /// # Errors
    /// There is no such user or group, or the number of a user that the system does not know stands without a group.
    pub(super) fn of(user: &str, group: Option<&str>) -> Result<Self> {
        let known = known_user(user)?;
        let group = group.map(group_number).transpose()?.map(Gid::from_raw);
        match (known, group, number("user", user)?) {
            (Some(known), group, _) => {
                let name = CString::new(known.name).ok();
                Ok(Self { name, user: known.uid, group: group.unwrap_or(known.gid), home: Some(known.dir) })
            }
            (None, Some(group), Some(number)) => {
                Ok(Self { name: None, user: Uid::from_raw(number), group, home: None })
            }
            (None, None, Some(_)) => Err(Error::usage(format!("the user with the number {user} has no group"))
                .hinting("the system knows no user of that number: say which group with --group")),
            (None, _, None) => Err(unknown("user", user, "passwd")),
        }
    }

    /// A program as the account starts it: in its environment the user's name and home, if the system knows them.
    pub(super) fn command(&self, command: Command) -> Command {
        match (&self.name, &self.home) {
            (Some(name), Some(home)) => command.of_user(&name.to_string_lossy(), home),
            _ => command.of_unknown_user(),
        }
    }

    /// Gives a file to the account.
    ///
    /// # Errors
    /// As fchown(2) has them.
    pub(super) fn give(&self, file: &File) -> std::io::Result<()> {
        Ok(fchown(file, Some(self.user), Some(self.group))?)
    }

    /// Makes this process, with all of its threads, one of the account for good: the other groups, the group, the user, and
    /// no way back by a program that is set-user-ID.
    ///
    /// # Errors
    /// The process has no right to it, or something of what it was is left.
    pub(super) fn assume(&self) -> anyhow::Result<()> {
        // The order matters: without the user's privileges, groups cannot be changed any more.
        self.leave_groups().map_err(|errno| self.refused(errno))?;
        setresgid(self.group, self.group, self.group).map_err(|errno| self.refused(errno))?;
        setresuid(self.user, self.user, self.user).map_err(|errno| self.refused(errno))?;
        prctl::set_no_new_privs()?;
        self.check()
    }

    fn leave_groups(&self) -> nix::Result<()> {
        let left = match &self.name {
            Some(name) => initgroups(name, self.group),
            None => setgroups(&[self.group]),
        };
        match left {
            // It is that account already, and has no privileges to give up.
            Err(Errno::EPERM) if (geteuid(), getegid()) == (self.user, self.group) => Ok(()),
            left => left,
        }
    }

    /// The calls may have done less than they said, under a kernel or a container that knows only some of it.
    fn check(&self) -> anyhow::Result<()> {
        let (users, groups) = (getresuid()?, getresgid()?);
        let is_user = [users.real, users.effective, users.saved].iter().all(|user| *user == self.user);
        let is_group = [groups.real, groups.effective, groups.saved].iter().all(|group| *group == self.group);
        anyhow::ensure!(is_user && is_group, "the user and the group of the process are not those of {self}");
        if !self.user.is_root() {
            let root = Uid::from_raw(0);
            anyhow::ensure!(setresuid(root, root, root).is_err(), "the process can become root again");
            let capabilities = procfs::process::Process::myself()?.status()?.capprm;
            anyhow::ensure!(capabilities == 0, "the process has kept capabilities of root ({capabilities:x})");
        }
        Ok(())
    }

    fn refused(&self, errno: Errno) -> Error {
        let cause = crate::net::plain(&errno.into());
        Error::usage(format!("this process may not become that of {self}: {cause}"))
            .hinting("start it as root, or leave --user out")
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}", name.to_string_lossy())?,
            None => write!(f, "user {}", self.user)?,
        }
        write!(f, ", group {}", self.group)
    }
}

/// The number of a user, given by name or number.
pub(super) fn user_number(user: &str) -> Result<u32> {
    match number("user", user)? {
        Some(number) => Ok(number),
        None => known_user(user)?.map(|known| known.uid.as_raw()).ok_or_else(|| unknown("user", user, "passwd")),
    }
}

/// The number of a group, given by name or number.
pub(super) fn group_number(group: &str) -> Result<u32> {
    if let Some(number) = number("group", group)? {
        return Ok(number);
    }
    let known = Group::from_name(group).map_err(|errno| Error::system("look up the group", errno.into()).on(group))?;
    known.map(|known| known.gid.as_raw()).ok_or_else(|| unknown("group", group, "group"))
}

/// Whether handlers may start programs with the privileges of root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProgramsAsRoot {
    Allowed,
    Refused,
}

/// Errs if programs that peers can start would be root's: as whom they run is decided by `account`, or by who has started this.
///
/// # Errors
/// They would, and that is not allowed.
pub(super) fn check_programs_as_root(allowed: ProgramsAsRoot, account: Option<&Account>) -> Result<()> {
    let user = account.map_or_else(geteuid, |account| account.user);
    if allowed == ProgramsAsRoot::Allowed || !user.is_root() {
        return Ok(());
    }
    Err(Error::usage("programs would run as root, with messages from others as their input")
        .hinting("have them run as somebody else with --user NAME, or say --allow-root"))
}

/// What is a number and no name. The last one is nobody's: to the system it means that nothing is to be changed (chown(2), setresuid(2)).
fn number(what: &str, text: &str) -> Result<Option<u32>> {
    match text.parse() {
        Ok(u32::MAX) => Err(Error::usage(format!("{text} is the number of no {what}"))
            .hinting("to the system it means that nothing is to be changed")),
        number => Ok(number.ok()),
    }
}

fn known_user(user: &str) -> Result<Option<User>> {
    let known = match user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(user),
    };
    known.map_err(|errno| Error::system("look up the user", errno.into()).on(user))
}

fn unknown(what: &str, name: &str, database: &str) -> Error {
    Error::usage(format!("there is no {what} `{name}`"))
        .hinting(format!("`getent {database}` lists those that there are; a number does, too"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_go_by_name_or_number() {
        assert_eq!(user_number("root").expect("a user"), 0);
        assert_eq!(user_number("4242").expect("any number"), 4242);
        assert_eq!(group_number("root").expect("a group"), 0);
        assert_eq!(group_number("4242").expect("any number"), 4242);
        for number in [user_number, group_number] {
            assert!(number("4294967295").expect_err("nobody's").to_string().contains("4294967295"));
        }
        for error in [user_number("no such user").expect_err("unknown"), group_number("-1").expect_err("unknown")] {
            assert!(error.hint().is_some_and(|hint| hint.contains("getent")), "{error:?}");
        }
    }

    #[test]
    fn an_account_has_a_group() {
        let own = Account::of("root", None).expect("an account");
        assert_eq!((own.user.as_raw(), own.group.as_raw()), (0, 0));
        assert_eq!(Account::of("0", None).expect("an account"), own, "the number of a known user is that user");
        assert_eq!(Account::of("root", Some("4242")).expect("an account").group.as_raw(), 4242);
        let unknown = Account::of("4242424", Some("7")).expect("an account");
        assert_eq!((unknown.name.clone(), unknown.to_string().as_str()), (None, "user 4242424, group 7"));
        assert!(
            Account::of("4242424", None).expect_err("no group").hint().is_some_and(|hint| hint.contains("--group"))
        );
        assert!(Account::of("no such user", Some("7")).is_err());
        assert!(Account::of("4294967295", Some("7")).is_err());
    }

    #[test]
    fn programs_are_not_run_as_root_unless_that_is_wanted() {
        let (root, other) =
            (Account::of("root", None).expect("root"), Account::of("1", Some("1")).expect("an account"));
        let check = |allowed, account| check_programs_as_root(allowed, Some(account));
        assert!(
            check(ProgramsAsRoot::Refused, &root).expect_err("root").hint().expect("a hint").contains("--allow-root")
        );
        check(ProgramsAsRoot::Allowed, &root).expect("allowed");
        check(ProgramsAsRoot::Refused, &other).expect("not root");
        assert_eq!(check_programs_as_root(ProgramsAsRoot::Refused, None).is_err(), geteuid().is_root());
    }
}
