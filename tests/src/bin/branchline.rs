//! The `branchline` program.

fn main() -> std::process::ExitCode {
    branchline::main_of_cli()
}
