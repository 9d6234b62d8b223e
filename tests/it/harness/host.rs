//! Two hosts on one cable: network namespaces joined by a pair of virtual interfaces.
//!
//! Apart, because this alone changes the machine the tests run on, and must leave nothing behind.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{is_root, skip};

/// Which addresses the name `cheerios` has; both hosts always have both on their interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Both,
}

/// One of the two hosts. Programs run on it with `Launch::on`.
#[derive(Debug)]
pub(crate) struct Host {
    namespace: String,
    pub(crate) v4: &'static str,
    pub(crate) v6: &'static str,
}

/// Two hosts: `cheerios`, known to both by that name, and `desk`. They are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) cheerios: Host,
    pub(crate) desk: Host,
}

impl Hosts {
    /// Makes the two hosts, or skips the test `name` and returns `None` where that is not allowed.
    pub(crate) fn new(name: &str, families: Families) -> Option<Hosts> {
        if !is_root() {
            skip(name, "network namespaces need root");
            return None;
        }
        let own = own_name();
        // Addresses set aside for documentation and for private use; each pair of hosts is alone with them.
        let hosts = Hosts {
            cheerios: Host::new(format!("{own}-cheerios"), "192.0.2.1", "fd00:51:717::1"),
            desk: Host::new(format!("{own}-desk"), "192.0.2.2", "fd00:51:717::2"),
        };
        let (far, near) = (&hosts.cheerios, &hosts.desk);
        ip(&["-n", &far.namespace, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", &near.namespace]);
        for host in [far, near] {
            host.connect();
            host.write_names(far, near, families);
        }
        // The kernel makes a cable usable a moment after both ends are up: the route of multicasts comes last.
        for host in [far, near] {
            while !ip(&["-n", &host.namespace, "-6", "route", "show", "table", "local"]).contains("multicast") {}
        }
        Some(hosts)
    }
}

impl Host {
    /// A host without a cable: its own loopback addresses, these lines in its list of names, and this name server, which the test may start there.
    /// Skips the test and returns `None` where that is not allowed.
    pub(crate) fn alone(test: &str, names: &str, name_server: &str) -> Option<Host> {
        if !is_root() {
            skip(test, "network namespaces need root");
            return None;
        }
        let host = Host::new(own_name() + "-alone", "127.0.0.1", "::1");
        ip(&["-n", &host.namespace, "link", "set", "lo", "up"]);
        host.write("hosts", &format!("127.0.0.1 localhost\n::1 localhost\n{names}"));
        host.write("nsswitch.conf", "hosts: files\n");
        host.write("resolv.conf", &format!("nameserver {name_server}\n"));
        Some(host)
    }

    fn write(&self, file: &str, content: &str) {
        let directory = self.files();
        fs::create_dir_all(&directory).expect("make the directory of a host's files");
        fs::write(directory.join(file), content).expect("write a host's file");
    }

    fn new(namespace: String, v4: &'static str, v6: &'static str) -> Host {
        ip(&["netns", "add", &namespace]);
        Host { namespace, v4, v6 }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn connect(&self) {
        let Host { namespace, v4, v6 } = self;
        ip(&["-n", namespace, "address", "add", &format!("{v4}/24"), "dev", "eth0"]);
        // Without `nodad` the address could not be used for a second or two.
        ip(&["-n", namespace, "address", "add", &format!("{v6}/64"), "dev", "eth0", "nodad"]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
    }

    /// `ip netns exec` puts these files in the place of those of `/etc`. No other names exist: nobody waits for a
    /// name server that cannot be reached.
    fn write_names(&self, far: &Host, near: &Host, families: Families) {
        let mut names = format!("127.0.0.1 localhost\n::1 localhost\n{} desk\n{} desk\n", near.v4, near.v6);
        if families != Families::V6 {
            names += &format!("{} cheerios\n", far.v4);
        }
        if families != Families::V4 {
            names += &format!("{} cheerios\n", far.v6);
        }
        self.write("hosts", &names);
        self.write("nsswitch.conf", "hosts: files\n");
    }

    fn files(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.namespace)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.namespace]).output();
        let _ = fs::remove_dir_all(self.files());
    }
}

/// What no other host is called.
fn own_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("wilco-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn ip(arguments: &[&str]) -> String {
    let done = Command::new("ip").args(arguments).output().expect("run ip, which these tests need");
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {}: {}", arguments.join(" "), told.trim());
    String::from_utf8_lossy(&done.stdout).into_owned()
}
