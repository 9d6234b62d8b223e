//! A name server with a few SRV records, for a host of the tests.
//!
//! Apart from the tests: it answers from this process, outside of that host's network, to which socat carries each question and answer.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::harness::{Host, Launch, Program};

/// Where it is asked, on its host.
pub(super) const ADDRESS: &str = "127.0.0.53";

/// The priority, weight, port and target of records by their name.
type Zone = Vec<(String, Vec<(u16, u16, u16, &'static str)>)>;

/// Gone when it is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    zone: Arc<Mutex<Zone>>,
    _carrier: Program,
}

impl NameServer {
    /// One that knows no name yet; it uses a file in the directory.
    pub(super) fn start(host: &Host, directory: &Path) -> NameServer {
        let path = directory.join("name-server");
        let listener = UnixListener::bind(&path).expect("a socket for the name server");
        let zone = Arc::new(Mutex::new(Zone::new()));
        let answering = Arc::clone(&zone);
        thread::spawn(move || {
            for question in listener.incoming().map_while(Result::ok) {
                let zone = Arc::clone(&answering);
                thread::spawn(move || answer(question, &zone));
            }
        });
        let from = format!("UDP4-RECVFROM:53,bind={ADDRESS},fork");
        let to = format!("UNIX-CONNECT:{}", path.display());
        let carrier = Launch::command("socat", ["-d", "-d", "-T", "5", &from, &to]).on(host).start();
        // What socat says before it waits for the first datagram.
        carrier.wait_for_stderr("receiving on");
        NameServer { zone, _carrier: carrier }
    }

    /// From now on a service has these records: priority, weight, port, target.
    pub(super) fn set(&self, service: &str, records: &[(u16, u16, u16, &'static str)]) {
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        zone.retain(|(name, _)| name != service);
        zone.push((service.to_owned(), records.to_vec()));
    }
}

/// Answers one question (RFC 1035, section 4.1): a header of 12 bytes, then the name, its type and class.
fn answer(mut question: UnixStream, zone: &Mutex<Zone>) {
    const SRV: [u8; 2] = [0, 33];
    let mut packet = [0; 1500];
    let Ok(length) = question.read(&mut packet) else { return };
    let mut at = 12;
    let mut labels = Vec::new();
    while at < length && packet[at] != 0 {
        let end = at + 1 + usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(&packet[at + 1..end]).to_lowercase());
        at = end;
    }
    let zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
    let known = zone.iter().find(|(name, _)| *name == labels.join("."));
    let records = known.filter(|_| packet[at + 1..at + 3] == SRV).map(|(_, records)| records.clone());
    let records = records.unwrap_or_default();
    // 3: there is no such name.
    let code = if known.is_some() { 0 } else { 3 };
    let count = u8::try_from(records.len()).expect("a few records");
    let mut answer = vec![packet[0], packet[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    answer.extend(&packet[12..at + 5]);
    for (priority, weight, port, target) in records {
        let mut data: Vec<u8> = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes).collect();
        for label in target.split('.').filter(|label| !label.is_empty()) {
            data.push(u8::try_from(label.len()).expect("a short label"));
            data.extend(label.bytes());
        }
        data.push(0);
        // The name of the question again, the type, the class, a minute to live.
        answer.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).expect("a short record").to_be_bytes());
        answer.extend(data);
    }
    let _ = question.write_all(&answer);
}
