//! A client whose messages are delivered exactly once, also if it is killed and started again.
//!
//! `seq 1000 | assured_client DIRECTORY ADDRESS...`: each line of standard input is a message. DIRECTORY is the spool.
#![allow(clippy::print_stdout)] // It is a program: what it prints is its result.

use std::env;
use std::io;

use anyhow::bail;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(spool), servers) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        bail!("usage: assured_client DIRECTORY ADDRESS...");
    };

    // What an earlier run has left in the spool is sent first. The server need not be there yet.
    let client = wilco::Assured::new(servers).spool(spool).open().await?;

    // All at once: each receipt comes when its message is final, that is, on the server's disk.
    let lines: Vec<String> = io::stdin().lines().collect::<Result<_, _>>()?;
    let mut refused = 0;
    for (line, receipt) in lines.iter().zip(client.send_all(&lines).await) {
        match receipt {
            Ok(receipt) => println!("{line}: {:?} by {}", receipt.how, receipt.by.unwrap_or_default()),
            // It is among the dead letters of the spool.
            Err(wilco::Error::DeadLetter { reason, .. }) => {
                println!("{line}: refused: {reason}");
                refused += 1;
            }
            // The others wait in the spool.
            Err(error) => return Err(error.into()),
        }
    }
    client.close().await?;
    if refused > 0 {
        bail!("{refused} of {} lines were refused", lines.len());
    }
    Ok(())
}
