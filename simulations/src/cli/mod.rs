//! The command line of the simulator. Data goes to stdout, messages to stderr.

mod args;
mod asked;
mod error;
mod explain;
mod meta;
mod output;
mod pace;
mod report;
mod run;
mod scale;
mod scenarios;
mod summary;
mod sweep;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use error::CliError;

/// `branchline-sim`.
pub fn main_of_sim() -> ExitCode {
    asked::note_panics();
    match execute(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<(), CliError> {
    match command {
        Command::List => scenarios::list(),
        Command::Show { scenario } => scenarios::show(&scenario),
        Command::New { name } => scenarios::new(&name),
        Command::Run(args) => run::run(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Meta(args) => meta::meta(&args),
        Command::Explain(args) => explain::explain(args),
        Command::Report(args) => report::report(&args),
        Command::Scale(args) => scale::scale(&args),
    }
}
