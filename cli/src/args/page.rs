//! What can be said of the page for the office, and of the people who sign in to it.

use std::path::PathBuf;

use branchline_page::users::Role;
use clap::{Args, Subcommand};

#[derive(Args)]
pub(crate) struct OpenArgs {
    /// Print the link instead of opening a browser
    #[arg(long)]
    pub(crate) print: bool,
}

#[derive(Subcommand)]
pub(crate) enum PageCommand {
    /// Create a self-signed certificate and key for the page, and print its fingerprint
    Cert {
        /// A host name or address that browsers use to reach the page; repeatable [default: the machine's name]
        #[arg(long = "name", value_name = "HOST")]
        names: Vec<String>,
        /// Replace the certificate that is there; browsers that trust it will have to trust the new one
        #[arg(long)]
        force: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user who signs in with a password
    Add {
        /// The name
        name: String,
        /// viewer can look but change nothing; operator can change whatever the page can change
        #[arg(long, value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List users who sign in with a password
    List,
    /// Remove a user, who can then no longer sign in
    Remove {
        /// The name
        name: String,
    },
    /// Change a user's password
    Password {
        /// The name
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
}

/// Where a password comes from. It is never on the command line, which every user of the machine can read.
#[derive(Args)]
pub(crate) struct PasswordArgs {
    /// A file with the password in its first line, or - for stdin [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}
