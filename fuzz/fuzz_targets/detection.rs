//! Any bytes as the first of a connection: what it is does not change once it is certain.
#![no_main]

libfuzzer_sys::fuzz_target!(|stream: &[u8]| wilco::fuzzing::detection(stream));
