//! Any bytes as a client's or a server's stream of frames, in any pieces: the same comes of them, and it can be said again.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (is_client, pieces, stream) = input;
    wilco::fuzzing::frames(is_client, &stream, &pieces);
});
