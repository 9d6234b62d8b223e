//! A wall clock that jumps by days, to and fro, under server and client.
//!
//! Apart, because no call fails and nobody is killed: the time of day is only to be written down, and what has to wait goes by a clock that does not jump.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Pipeline, Server};

/// How many messages a run has.
const MESSAGES: u64 = 60;

/// Takes the place of what the C library says of the time: each question is answered with another day.
const JUMPING: &str = r#"
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long jump(void) {
    static unsigned asked;
    static const long days[] = {0, 1, -1, 100, -400, 3};
    return days[__atomic_fetch_add(&asked, 1, __ATOMIC_RELAXED) % 6] * 86400;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += jump();
    return result;
}
int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"#;

/// Compiles it; gives the path of the library.
fn compile(pipeline: &Pipeline) -> PathBuf {
    let (source, library) = (pipeline.path("jumping.c"), pipeline.path("jumping.so"));
    fs::write(&source, JUMPING).expect("written");
    let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output().expect("run cc");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    library
}

#[test]
fn a_clock_that_jumps_disturbs_nothing() {
    let pipeline = Pipeline::new();
    let library = compile(&pipeline);
    let library = library.to_str().expect("a path").to_owned();
    let (launch, preload) = (pipeline.server(), library.clone());
    let server = Server::start(move |_| launch.clone().env("LD_PRELOAD", &preload));
    for through in [MESSAGES / 2, MESSAGES] {
        let killed = pipeline.deliver(through, |_| pipeline.client().env("LD_PRELOAD", &library));
        assert_eq!(killed, 0);
    }
    assert_eq!(server.killed(), 0);
    pipeline.check(MESSAGES);
    // The clock did jump: no two messages would be more than minutes apart.
    let store = rusqlite::Connection::open(pipeline.store()).expect("open the store");
    let days: i64 = store
        .query_row("SELECT (max(at) - min(at)) / 86400000 FROM messages", [], |row| row.get(0))
        .expect("the times of messages");
    assert!(days >= 1, "all messages are of the same day");
}
