//! `branchline-sim`: what would an outage do to us?

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A fifth of a run's time goes into small pieces of memory with the system's allocator, half of that with this one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    branchline_simulations::main_of_sim()
}
