//! Any bytes as a stream, in any pieces: the messages are the same as when they come a byte at a time.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>)| {
    let (framing, stream, pieces) = input;
    wilco::fuzzing::framing(framing, &stream, &pieces);
});
