//! `wilco server` under its own name.

use wilco::app::{Exit, Program, run};

fn main() -> Exit {
    run(Program::Server)
}
