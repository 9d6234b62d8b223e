//! Any text as an address: it is read or refused, and what is read prints to the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| wilco::fuzzing::address(text));
