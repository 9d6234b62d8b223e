//! Faults that are real: processes that are killed at a chosen system call, disks that fill up or fail, connections that are cut at a chosen byte.
//!
//! Apart from the tests of the parts, and from the simulation, which tries far more orders of events: here is what runs and gets killed is the product.
//! After every run all messages are stored once and in order, nothing that was acknowledged is missing, and nothing waits in the spool.
//!
//! By itself a bounded part of each sweep is done, evenly spread, from a seed that is told. `WILCO_FAULTS=all` does all of them (`tests/soak`),
//! `WILCO_FAULTS_SEED=n` the part that another run has done.

mod clocks;
pub(crate) mod disks;
mod forks;
mod handlers;
mod jetstream;
mod killed;
mod load;
mod many;
mod network;
mod pipeline;
mod points;
pub(crate) mod proxy;
mod udp;

use pipeline::{Pipeline, Server};
use points::Injection;
pub(crate) use points::has_strace;
