//! Compiles the C programs of `tests/fixtures/c`, those of `examples/other`, and the bare server of `benches`.
//!
//! Apart, because tests run at the same time and in several processes, and each fixture is compiled once for all.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The path of the program made from `tests/fixtures/c/NAME.c`.
///
/// Its name carries a hash of the source, so a changed source is a new program; it is compiled beside its place and
/// moved there whole, so that nobody starts half of it.
pub(crate) fn compile_fixture(name: &str) -> PathBuf {
    compile(name, "tests/fixtures/c")
}

/// The path of the program made from `examples/other/NAME.c`.
pub(crate) fn compile_example(name: &str) -> PathBuf {
    compile(name, "examples/other")
}

/// The path of the program made from `benches/bare.c`.
pub(crate) fn compile_bare() -> PathBuf {
    compile("bare", "benches")
}

fn compile(name: &str, directory: &str) -> PathBuf {
    static ATTEMPT: AtomicU32 = AtomicU32::new(0);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).join(name).with_extension("c");
    let text = fs::read(&source).unwrap_or_else(|error| panic!("read {}: {error}", source.display()));
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);

    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures");
    fs::create_dir_all(&directory).expect("make the directory of compiled fixtures");
    let program = directory.join(format!("{name}-{:016x}", hasher.finish()));
    if program.exists() {
        return program;
    }
    let attempt = format!("{name}-{}-{}.new", std::process::id(), ATTEMPT.fetch_add(1, Ordering::Relaxed));
    let attempt = directory.join(attempt);
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let done = Command::new(compiler).arg("-O1").arg("-o").arg(&attempt).arg(&source).output();
    let done = done.unwrap_or_else(|error| panic!("run the C compiler, which these tests need: {error}"));
    assert!(done.status.success(), "compile {}: {}", source.display(), String::from_utf8_lossy(&done.stderr));
    fs::rename(&attempt, &program).expect("move the compiled fixture to its place");
    program
}
