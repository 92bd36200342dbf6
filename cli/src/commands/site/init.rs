//! `init` and `rotate`, and `completions`, which need no site.

use branchline_node::RotateReport;
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::args::{Args, Global};
use crate::error::CliError;
use crate::output;

/// Makes a site.
pub(crate) fn init(global: &Global, name: &str, found: bool) -> Result<(), CliError> {
    let report = branchline_node::init(&global.data, name, found)?;
    let site = report.site.to_string();
    let network = report.network.map(|network| network.to_string());
    if global.json {
        output::json(&json!({ "site": site, "name": name, "network": network }))?;
    }
    let data = global.data.display();
    output::note(format_args!("site {name} ({site}) is in {data}"));
    match network {
        Some(network) => {
            output::note(format_args!("it has founded network {network}"));
            output::note(format_args!(
                "\nnext: `branchline --data {data} run`, then `branchline --data {data} invite` for each other site"
            ));
        }
        None => output::note(format_args!(
            "\nnext: `branchline --data {data} join FILE` with the ticket's file from an admin of the network, then `branchline --data {data} run`"
        )),
    }
    Ok(())
}

/// Gives the site another key.
pub(crate) fn rotate(global: &Global) -> Result<(), CliError> {
    let RotateReport { from, to } = branchline_node::rotate(&global.data)?;
    if global.json {
        output::json(&json!({ "from": from.to_string(), "to": to.to_string() }))?;
    }
    output::note(format_args!("this site was {from} and is {to} now, by the same name"));
    output::note("the others learn so when its node runs: `branchline run`");
    Ok(())
}

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "branchline", &mut script);
    output::lines(String::from_utf8_lossy(&script).trim_end())
}
