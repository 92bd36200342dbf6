//! `branchline-sim`: what would an outage do to us?

use std::process::ExitCode;

fn main() -> ExitCode {
    branchline_simulations::main_of_sim()
}
