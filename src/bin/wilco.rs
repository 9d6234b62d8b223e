//! All commands: `wilco server`, `wilco client`, `wilco lookup` and the others.

use wilco::app::{Exit, Program, run};

fn main() -> Exit {
    run(Program::Wilco)
}
