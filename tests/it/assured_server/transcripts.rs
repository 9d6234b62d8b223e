//! The sessions of `docs/protocol.md`, typed as the page has them: what the server says is what is on the page, byte for byte.
//!
//! Apart from the other tests, because here the page is the test. A line `C: ` is said, a line `S: ` is heard; each block is a connection, and all are to one store.

use std::io::{Read, Write};

use super::{bodies, storing, talk::stream};

/// A block: what is said, and what is heard before more is said.
pub(crate) type Transcript = Vec<(String, String)>;

/// The sessions of a page that are in blocks of this kind.
pub(crate) fn transcripts(page: &str, fence: &str) -> Vec<Transcript> {
    let mut transcripts = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == fence) {
        let mut transcript = vec![(String::new(), String::new())];
        for line in lines.by_ref().take_while(|line| *line != "```") {
            let (who, text) = line.split_at_checked(3).expect("a speaker");
            let (said, heard) = transcript.last_mut().expect("there is one");
            match who {
                "C: " if heard.is_empty() => *said += &format!("{text}\n"),
                "C: " => transcript.push((format!("{text}\n"), String::new())),
                "S: " => *heard += &format!("{text}\n"),
                _ => panic!("who says {line:?}?"),
            }
        }
        transcripts.push(transcript);
    }
    transcripts
}

/// Says what the page has a client say, and hears what it has the server answer, and no more.
pub(crate) fn expect(transcript: Transcript, mut stream: impl Read + Write) {
    for (said, heard) in transcript {
        stream.write_all(said.as_bytes()).expect("say it");
        let mut bytes = vec![0; heard.len()];
        stream.read_exact(&mut bytes).unwrap_or_else(|error| panic!("to {said:?} not {heard:?}: {error}"));
        assert_eq!(String::from_utf8_lossy(&bytes), heard, "to {said:?}");
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("hear the end");
    assert_eq!(rest, "", "there is more than on the page");
}

#[test]
fn the_server_says_what_the_page_of_the_protocol_has() {
    let transcripts = transcripts(include_str!("../../../docs/protocol.md"), "```wilco");
    assert!(transcripts.len() >= 2, "the page has fewer sessions than it had");
    let (_server, port, directory) = storing(&[]);
    for transcript in transcripts {
        expect(transcript, stream(&port));
    }
    assert_eq!(bodies(&directory, "5fb0f4d2c9a84e0e9d3c61f2a7b8e915"), ["hello", "two\nlines", "the last"]);
}
