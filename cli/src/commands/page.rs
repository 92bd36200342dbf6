//! `open`, `page cert` and `user`: the page for the office, and who signs in to it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use branchline_node::site::SiteFolder;
use branchline_page::users::{PASSWORD_BYTES_MAX, Users, UsersError};
use branchline_page::{CertificateError, PageLinkResponse, make_certificate};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use crate::Context;
use crate::args::{Global, OpenArgs, PageCommand, PasswordArgs, UserCommand};
use crate::error::CliError;
use crate::output;

/// What opens a link in the browser of the person at the machine.
const OPENERS: [&str; 4] = ["xdg-open", "wslview", "open", "sensible-browser"];

/// Opens the page in a browser, signed in by a link that serves once.
pub(crate) async fn open(context: &Context, args: OpenArgs) -> Result<(), CliError> {
    let answer: PageLinkResponse = context.client.post("/v1/page/link", &json!({})).await?;
    if context.json {
        return output::json(&answer);
    }
    if args.print {
        return output::line(&answer.link);
    }
    let opened = OPENERS.iter().any(|opener| {
        let mut command = Command::new(opener);
        let quiet = command.arg(&answer.link).stdin(Stdio::null()).stdout(Stdio::null());
        quiet.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    });
    if opened {
        output::note("the page is open in the browser");
        Ok(())
    } else {
        output::note(
            "no browser could be opened here: open this link within five minutes; it works once",
        );
        output::line(&answer.link)
    }
}

/// What is done to the page itself.
pub(crate) fn page(global: &Global, command: PageCommand) -> Result<(), CliError> {
    let PageCommand::Cert { names, force } = command;
    SiteFolder::new(&global.data).site()?;
    let made = make_certificate(&global.data, names, force).map_err(|error| match error {
        CertificateError::Names { .. } => CliError::usage(error.to_string()),
        CertificateError::Io { .. } | CertificateError::Exists { .. } => {
            CliError::failed(error.to_string())
        }
    })?;
    if global.json {
        return output::json(&json!({
            "certificate": made.certificate, "key": made.key, "names": made.names,
            "fingerprint_sha256": made.fingerprint,
        }));
    }
    output::line(format_args!("certificate {}", made.certificate.display()))?;
    output::line(format_args!("key         {}", made.key.display()))?;
    output::line(format_args!("for         {}", made.names.join(", ")))?;
    output::line(format_args!("SHA-256     {}", made.fingerprint))?;
    output::note(
        "\nwhoever opens the page from another machine compares this fingerprint with what the browser shows, and trusts it once\nnext, in branchline.toml:\n  [page]\n  listen = \"0.0.0.0:7443\"\nand then `branchline reload`, or start the node again",
    );
    Ok(())
}

/// What is done to those who sign in.
pub(crate) fn user(global: &Global, command: UserCommand) -> Result<(), CliError> {
    SiteFolder::new(&global.data).site()?;
    let users = Users::of_site(&global.data);
    match command {
        UserCommand::Add { name, role, password } => {
            let password = read_password(&password)?;
            users.add(&name, role, &password).map_err(refused)?;
            say(global, &name, &format!("{name} signs in as {}", role.as_str()))
        }
        UserCommand::Remove { name } => {
            users.remove(&name).map_err(refused)?;
            say(global, &name, &format!("{name} signs in no more"))
        }
        UserCommand::Password { name, password } => {
            let password = read_password(&password)?;
            users.set_password(&name, &password).map_err(refused)?;
            say(
                global,
                &name,
                &format!("{name} has another password, and is signed out everywhere"),
            )
        }
        UserCommand::List => list(global, &users),
    }
}

fn say(global: &Global, name: &str, text: &str) -> Result<(), CliError> {
    if global.json { output::json(&json!({ "name": name })) } else { output::line(text) }
}

fn list(global: &Global, users: &Users) -> Result<(), CliError> {
    let users = users.all().map_err(refused)?;
    if global.json {
        let rows: Vec<_> =
            users.iter().map(|user| json!({ "name": user.name, "role": user.role })).collect();
        return output::json(&json!({ "users": rows }));
    }
    if users.is_empty() {
        output::note(
            "nobody signs in with a password; `branchline open` signs in the person who runs it",
        );
    }
    users
        .iter()
        .try_for_each(|user| output::line(format_args!("{:<24} {}", user.name, user.role.as_str())))
}

fn refused(error: UsersError) -> CliError {
    match error {
        UsersError::Name { .. } | UsersError::Password { .. } => CliError::usage(error.to_string()),
        UsersError::Io { .. }
        | UsersError::Damaged { .. }
        | UsersError::Exists { .. }
        | UsersError::Unknown { .. }
        | UsersError::Full
        | UsersError::Hash { .. } => CliError::failed(error.to_string()),
    }
}

fn read_password(args: &PasswordArgs) -> Result<String, CliError> {
    match args.password_file.as_deref() {
        Some(path) if path == Path::new("-") => first_line(io::stdin().lock(), path),
        Some(path) => {
            let file = File::open(path).map_err(|error| CliError::file("read", path, &error))?;
            first_line(BufReader::new(file), path)
        }
        None if io::stdin().is_terminal() => ask(),
        None => first_line(io::stdin().lock(), Path::new("-")),
    }
}

fn first_line(input: impl BufRead, path: &Path) -> Result<String, CliError> {
    let mut line = Vec::new();
    let read = input.take(PASSWORD_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line);
    read.map_err(|error| CliError::file("read", path, &error))?;
    let line = String::from_utf8(line)
        .map_err(|_| CliError::failed(format!("{} is not UTF-8 text", path.display())))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks at the terminal, twice, and shows nothing of what is typed.
fn ask() -> Result<String, CliError> {
    let wrong = |error: io::Error| CliError::failed(format!("cannot ask for a password: {error}"));
    let terminal = io::stdin();
    let shown = tcgetattr(&terminal).map_err(|error| wrong(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).map_err(|error| wrong(error.into()))?;
    let typed = ["password: ", "again: "].map(|prompt| {
        eprint!("{prompt}");
        io::stderr().flush().ok();
        let typed = first_line(io::stdin().lock(), Path::new("-"));
        eprintln!();
        typed
    });
    // However the reading went, the terminal shows again what is typed.
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &shown);
    restored.map_err(|error| wrong(error.into()))?;
    let [first, second] = typed;
    let (first, second) = (first?, second?);
    if first == second {
        Ok(first)
    } else {
        Err(CliError::failed("the two are different: nothing was changed"))
    }
}
