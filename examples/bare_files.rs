//! What a file takes to go over a connection with nothing assured: bytes and their digest, read, sent, received, written and synced once.
//!
//! `benches/files` measures it beside `client --file`:
//!
//! ```sh
//! bare_files receive 51717 copy &      # or port 0: it says which it has
//! bare_files send 51717 file
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use sha2::{Digest, Sha256};

/// How many bytes go together.
const PART: usize = 256 * 1024;

/// How many parts may wait for their digest.
const QUEUE: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, port, path] = &arguments[..] else { return Err("usage: bare_files send|receive PORT FILE".into()) };
    let address = ("127.0.0.1", port.parse()?);
    let digest = match what.as_str() {
        "receive" => {
            let listener = TcpListener::bind(address)?;
            writeln!(std::io::stderr(), "listening on {}", listener.local_addr()?.port())?;
            let (stream, _) = listener.accept()?;
            let mut file = File::create(path)?;
            let digest = copy(stream, &mut file)?;
            file.sync_all()?;
            digest
        }
        _ => copy(File::open(path)?, &mut TcpStream::connect(address)?)?,
    };
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(std::io::stdout(), "{hexadecimal}  {path}")?;
    Ok(())
}

/// Copies everything, while another thread computes the digest.
fn copy(mut from: impl Read, to: &mut impl Write) -> Result<Vec<u8>, Box<dyn Error>> {
    let (parts, received) = sync_channel::<Arc<Vec<u8>>>(QUEUE);
    let digesting = thread::spawn(move || {
        let mut digest = Sha256::new();
        received.iter().for_each(|part| digest.update(part.as_slice()));
        digest.finalize().to_vec()
    });
    loop {
        let mut part = Vec::with_capacity(PART);
        if from.by_ref().take(PART as u64).read_to_end(&mut part)? == 0 {
            break;
        }
        let part = Arc::new(part);
        parts.send(Arc::clone(&part))?;
        to.write_all(&part)?;
    }
    drop(parts);
    digesting.join().map_err(|_| "the thread has ended badly".into())
}
