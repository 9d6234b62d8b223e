//! Disks that fill up and fail under a server that saves files.
//!
//! Apart from what a server does while all is well.

use std::fs;
use std::path::Path;

use super::talk::{open, sha256};
use crate::faults::disks::on_a_full_disk;
use crate::harness::{Launch, Program, is_root, skip};

fn saving(directory: &Path) -> Launch {
    Launch::server(["127.0.0.1:0", "-v", "--save", directory.to_str().expect("a path")])
}

/// The directory as the program has it.
fn seen_by(program: &Program, directory: &Path) -> String {
    format!("/proc/{}/root{}", program.pid(), directory.display())
}

#[test]
fn a_full_disk_puts_off_and_the_file_goes_on() {
    const TEST: &str = "a_full_disk_puts_off_and_the_file_goes_on";
    if !is_root() {
        return skip(TEST, "only root may mount a file system");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let server = on_a_full_disk(saving(directory.path()), directory.path(), 700_000).start();
    let bytes: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut talk = open(&server.port(), "a0000000000000001");
    assert_eq!(talk.ask(&format!("put {} file", bytes.len())), "at 0");
    talk.say("from 0");
    talk.hear_acknowledged();
    let mut put_off = 0;
    for part in bytes.chunks(300_000) {
        let word = [b"data\n", part].concat();
        talk.say(&word);
        while let Some(words) = talk.hear_put_off() {
            assert_eq!(words, "2000 507 there is no room on the disk");
            if put_off == 0 {
                server.wait_for_stderr("no room on the disk: write file");
            }
            put_off += 1;
            if put_off == 2 {
                fs::remove_file(format!("{}/filler", seen_by(&server, directory.path()))).expect("make room");
            }
            talk.say_again(&word);
        }
    }
    assert!(put_off >= 2, "{put_off}");
    assert_eq!(talk.ask(&format!("end {}", sha256(&bytes))), format!("saved {} {}", bytes.len(), sha256(&bytes)));
    assert!(fs::read(format!("{}/file", seen_by(&server, directory.path()))).expect("it is there") == bytes);
}

#[test]
fn a_file_that_cannot_be_synced_is_refused_and_has_no_name() {
    const TEST: &str = "a_file_that_cannot_be_synced_is_refused_and_has_no_name";
    if !crate::faults::has_strace(TEST) {
        return;
    }
    for (errno, said) in [("EIO", "500 file could not be brought to the disk: "), ("ENOSPC", "507 file could not be ")]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let fails = format!("inject=fsync:error={errno}:when=1");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", &fails];
        let server = saving(directory.path()).through(strace).start();
        let mut talk = open(&server.port(), "a0000000000000001");
        let told = talk.send_file("file", b"hello");
        assert!(told.starts_with(said), "{told}");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 0);
        // The next is another matter.
        assert!(talk.send_file("file", b"hello").starts_with("saved 5 "));
    }
}
