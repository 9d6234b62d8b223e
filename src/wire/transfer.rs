//! `FileWord` and `FileAnswer`: what is said of a file that is sent, as the messages of an assured session and the replies to them.
//!
//! Apart from the frames, which carry them as they carry any message, and from files: here is only what the bytes mean. `docs/protocol.md`, "Files", is the specification.

use std::fmt;
use std::time::Duration;

use super::assured::MAX_NUMBER;

/// A digest: SHA-256 (FIPS 180-4), as sha256sum(1) prints it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest(pub [u8; 32]);

/// How many bytes the line has at most that a word is, or begins with.
pub const MAX_FILE_LINE: usize = 16 * 1024;

/// How many bytes one part of a name may have, as in any file system (`NAME_MAX`).
pub const MAX_NAME_PART: usize = 255;

/// How many bytes a whole name may have (`PATH_MAX` without the end).
pub const MAX_FILE_NAME: usize = 4095;

/// Where a file or directory is to be, under whatever directory the receiver has for it: parts with `/` between them, none of which leads out of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileName(Vec<u8>);

/// What is to be kept of a file besides its contents.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// The permissions (at most 0777).
    pub mode: Option<u32>,
    /// When it was changed last, since 1970.
    pub modified: Option<Duration>,
}

/// What a client says of a file: the body of a message.
///
/// A file is [`Put`](Self::Put), perhaps some [`Hash`](Self::Hash), [`From`](Self::From), its bytes in their order as [`Data`](Self::Data) and [`Hole`](Self::Hole), and
/// [`End`](Self::End).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileWord<'a> {
    /// `put SIZE NAME [mode=OCTAL] [mtime=SECONDS.NANOSECONDS]`: a file of this size is to come. Answered by [`FileAnswer::At`].
    Put {
        /// Its length in bytes.
        size: u64,
        /// Where it is to be.
        name: FileName,
        /// What is to be kept besides.
        attributes: Attributes,
    },
    /// `hash OFFSET`: asks for the digest of what the receiver has up to there, which is not before an offset that was asked for earlier, and not beyond what it has. Answered by
    /// [`FileAnswer::Hash`].
    Hash(u64),
    /// `from OFFSET`: the bytes that follow begin here: at 0 or an offset that was asked the digest for. What the receiver has behind it is thrown away.
    From(u64),
    /// `data` LF, the next bytes.
    Data(&'a [u8]),
    /// `hole LENGTH`: the next bytes are so many zeros.
    Hole(u64),
    /// `end SHA256`: that was all, and this is the digest of the whole file. Answered by [`FileAnswer::Saved`] once it is on disk under its name.
    End(Digest),
    /// `dir NAME [mode=OCTAL] [mtime=SECONDS.NANOSECONDS]`: a directory, which may be there already.
    Directory {
        /// Where it is to be.
        name: FileName,
        /// What is to be kept besides.
        attributes: Attributes,
    },
}

/// What a receiver answers: the reply to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileAnswer {
    /// `at OFFSET`: so many bytes of the file are there already.
    At(u64),
    /// `hash OFFSET SHA256`: the digest of what is there up to this offset.
    Hash(u64, Digest),
    /// `saved SIZE SHA256`: it is on disk, complete.
    Saved(u64, Digest),
}

/// What is wrong with a word; nothing in it comes from the other side.
pub type FileFlaw = &'static str;

impl FileName {
    /// A name of these bytes.
    ///
    /// # Errors
    /// It is empty, too long, absolute, leads out of where it is, or has a NUL.
    pub fn new(name: impl Into<Vec<u8>>) -> Result<Self, FileFlaw> {
        let name = name.into();
        if name.len() > MAX_FILE_NAME {
            return Err("the name is too long");
        }
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" => return Err("the name is empty, absolute, or has an empty part"),
                b"." | b".." => return Err("the name has a part that is . or .."),
                part if part.len() > MAX_NAME_PART => return Err("a part of the name is too long"),
                part if part.contains(&0) => return Err("the name has a NUL"),
                _ => {}
            }
        }
        Ok(Self(name))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its parts, from the outermost directory to the file.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }
}

impl<'a> FileWord<'a> {
    /// What the body of a message says.
    ///
    /// # Errors
    /// It is no word.
    pub fn decode(body: &'a [u8]) -> Result<Self, FileFlaw> {
        if let Some(bytes) = body.strip_prefix(b"data\n") {
            return Ok(Self::Data(bytes));
        }
        let line = body.strip_suffix(b"\n").unwrap_or(body);
        let line = std::str::from_utf8(line).ok().filter(|line| line.len() <= MAX_FILE_LINE && line.is_ascii());
        let mut fields = line.ok_or("it says nothing of a file")?.split(' ');
        let mut next = || fields.next().ok_or("something is missing");
        let word = match next()? {
            "put" => {
                let (size, name) = (number(next()?)?, name(next()?)?);
                return Ok(Self::Put { size, name, attributes: attributes(fields)? });
            }
            "dir" => {
                let name = name(next()?)?;
                return Ok(Self::Directory { name, attributes: attributes(fields)? });
            }
            "hash" => Self::Hash(number(next()?)?),
            "from" => Self::From(number(next()?)?),
            "hole" => Self::Hole(number(next()?)?),
            "end" => Self::End(digest(next()?)?),
            _ => return Err("it says nothing of a file"),
        };
        match fields.next() {
            None => Ok(word),
            Some(_) => Err("there is something behind it"),
        }
    }

    /// Appends it as the body of a message.
    pub fn encode(&self, body: &mut Vec<u8>) {
        let line = match self {
            Self::Put { size, name, attributes } => format!("put {size} {}{attributes}", Escaped(name)),
            Self::Directory { name, attributes } => format!("dir {}{attributes}", Escaped(name)),
            Self::Hash(offset) => format!("hash {offset}"),
            Self::From(offset) => format!("from {offset}"),
            Self::Hole(length) => format!("hole {length}"),
            Self::End(digest) => format!("end {digest}"),
            Self::Data(bytes) => {
                body.extend_from_slice(b"data\n");
                return body.extend_from_slice(bytes);
            }
        };
        body.extend_from_slice(line.as_bytes());
    }
}

impl FileAnswer {
    /// What a reply says.
    ///
    /// # Errors
    /// It is no answer.
    pub fn decode(reply: &[u8]) -> Result<Self, FileFlaw> {
        let line = std::str::from_utf8(reply).map_err(|_| "it says nothing of a file")?;
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["at", offset] => Ok(Self::At(number(offset)?)),
            ["hash", offset, sha256] => Ok(Self::Hash(number(offset)?, digest(sha256)?)),
            ["saved", size, sha256] => Ok(Self::Saved(number(size)?, digest(sha256)?)),
            _ => Err("it says nothing of a file"),
        }
    }
}

impl fmt::Display for FileAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(offset) => write!(f, "at {offset}"),
            Self::Hash(offset, digest) => write!(f, "hash {offset} {digest}"),
            Self::Saved(size, digest) => write!(f, "saved {size} {digest}"),
        }
    }
}

impl fmt::Display for Attributes {
    /// Each with a space before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            write!(f, " mode={mode:04o}")?;
        }
        if let Some(modified) = self.modified {
            write!(f, " mtime={}.{:09}", modified.as_secs(), modified.subsec_nanos())?;
        }
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name without anything that a line could not have: such bytes as `%` and two hexadecimal digits (RFC 3986, 2.1).
struct Escaped<'a>(&'a FileName);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_bytes().iter().try_for_each(|byte| match byte {
            b'!'..=b'~' if *byte != b'%' => write!(f, "{}", char::from(*byte)),
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

fn name(text: &str) -> Result<FileName, FileFlaw> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or("behind % come two hexadecimal digits")?;
                bytes.push((high * 16 + low) as u8);
            }
            _ => bytes.push(byte),
        }
    }
    FileName::new(bytes)
}

/// Those that are not known are left out, so that there may be more later.
fn attributes<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Attributes, FileFlaw> {
    let mut attributes = Attributes::default();
    for field in fields {
        match field.split_once('=').ok_or("what follows the name is not KEY=VALUE")? {
            ("mode", octal) => {
                let mode = u32::from_str_radix(octal, 8).ok().filter(|mode| *mode <= 0o777 && !octal.starts_with('+'));
                attributes.mode = Some(mode.ok_or("the mode is not an octal number up to 0777")?);
            }
            ("mtime", time) => {
                let (seconds, nanoseconds) = time.split_once('.').ok_or("the time has no fraction")?;
                let has_nine = nanoseconds.len() == 9 && nanoseconds.bytes().all(|byte| byte.is_ascii_digit());
                let nanoseconds = nanoseconds.parse().ok().filter(|_| has_nine).ok_or("the time has no nine digits")?;
                attributes.modified = Some(Duration::new(number(seconds)?, nanoseconds));
            }
            _ => {}
        }
    }
    Ok(attributes)
}

fn number(text: &str) -> Result<u64, FileFlaw> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|number| is_plain && *number <= MAX_NUMBER).ok_or("a number is wanted")
}

fn digest(text: &str) -> Result<Digest, FileFlaw> {
    let digits: Option<Vec<u8>> = text
        .bytes()
        .map(|digit| b"0123456789abcdef".iter().position(|known| *known == digit).map(|at| at as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64).ok_or("a digest has 64 digits, 0-9 and a-f")?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] * 16 + pair[1];
    }
    Ok(Digest(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn named(name: &str) -> FileName {
        FileName::new(name).expect("a name")
    }

    #[test]
    fn a_word_is_a_line_or_bytes_and_reads_back() {
        let all = Attributes { mode: Some(0o640), modified: Some(Duration::new(1_790_000_000, 7)) };
        let end = format!("end {SHA256}");
        for (text, word) in [
            ("put 5 a", FileWord::Put { size: 5, name: named("a"), attributes: Attributes::default() }),
            (
                "put 0 d/caf%C3%A9%20%25 mode=0640 mtime=1790000000.000000007",
                FileWord::Put { size: 0, name: named("d/caf\u{e9} %"), attributes: all },
            ),
            ("dir d mode=0640 mtime=1790000000.000000007", FileWord::Directory { name: named("d"), attributes: all }),
            ("hash 7", FileWord::Hash(7)),
            ("from 0", FileWord::From(0)),
            ("hole 9223372036854775807", FileWord::Hole(MAX_NUMBER)),
            ("data\n", FileWord::Data(b"")),
            ("data\ndata\n\n", FileWord::Data(b"data\n\n")),
            (&end, FileWord::End(digest(SHA256).expect("a digest"))),
        ] {
            assert_eq!(FileWord::decode(text.as_bytes()).as_ref(), Ok(&word), "{text}");
            let mut encoded = Vec::new();
            word.encode(&mut encoded);
            assert_eq!(encoded, text.as_bytes(), "{text}");
        }
        // Whoever types it has a newline, and what is not known yet is left out.
        assert_eq!(FileWord::decode(b"from 3\n"), Ok(FileWord::From(3)));
        let later = FileWord::decode(b"dir d colour=red");
        assert_eq!(later, Ok(FileWord::Directory { name: named("d"), attributes: Attributes::default() }));
    }

    #[test]
    fn what_is_no_word_is_refused_and_says_why() {
        for (text, why) in [
            ("", "nothing of a file"),
            ("hello", "nothing of a file"),
            ("data", "nothing of a file"),
            ("put", "missing"),
            ("put 5", "missing"),
            ("put x a", "a number"),
            ("put 05 a", "a number"),
            ("put 9223372036854775808 a", "a number"),
            ("put 5 ", "empty"),
            ("put 5 /etc/passwd", "absolute"),
            ("put 5 a//b", "empty part"),
            ("put 5 a/", "empty part"),
            ("put 5 ../a", "part that is"),
            ("put 5 a/%2E%2e/b", "part that is"),
            ("put 5 a%00", "NUL"),
            ("put 5 a%2", "two hexadecimal digits"),
            ("put 5 a mode=01777", "octal number"),
            ("put 5 a mode=+644", "octal number"),
            ("put 5 a mtime=1", "fraction"),
            ("put 5 a mtime=1.5", "nine digits"),
            ("put 5 a b", "KEY=VALUE"),
            ("from 1 2", "behind it"),
            ("end 12", "64 digits"),
            ("put 5 caf\u{e9}", "nothing of a file"),
        ] {
            let flaw = FileWord::decode(text.as_bytes()).expect_err(text);
            assert!(flaw.contains(why), "{text}: {flaw}");
        }
        assert!(FileName::new(vec![b'x'; MAX_NAME_PART]).is_ok());
        assert!(FileName::new(vec![b'x'; MAX_NAME_PART + 1]).is_err());
        assert!(FileName::new("x/".repeat(MAX_FILE_NAME / 2 + 1) + "x").is_err());
        // The longest name has room in a line, however it is written.
        let longest =
            FileName::new(b"\xff/".repeat(MAX_FILE_NAME / 2 - 1)[..].strip_suffix(b"/").expect("a name").to_vec());
        let mut encoded = Vec::new();
        FileWord::Directory { name: longest.expect("a name"), attributes: Attributes::default() }.encode(&mut encoded);
        assert!(FileWord::decode(&encoded).is_ok());
        assert!(encoded.len() * 2 < MAX_FILE_LINE);
    }

    #[test]
    fn an_answer_reads_back() {
        let sha256 = digest(SHA256).expect("a digest");
        for answer in [FileAnswer::At(0), FileAnswer::Hash(7, sha256), FileAnswer::Saved(9, sha256)] {
            assert_eq!(FileAnswer::decode(answer.to_string().as_bytes()), Ok(answer));
        }
        for text in ["", "at", "at -1", "at 1 2", "saved 1 2", "hash 1", "\u{ff}"] {
            assert!(FileAnswer::decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
