//! `branchline`: runs, inspects, edits and administers a site.

use std::process::ExitCode;

fn main() -> ExitCode {
    branchline::main_of_cli()
}
