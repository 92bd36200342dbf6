//! `branchline-node`: runs a site. The same as `branchline run`.

use std::process::ExitCode;

fn main() -> ExitCode {
    branchline::main_of_node()
}
