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
    /// Make a certificate and its key for the page, signed by itself, and print its fingerprint
    Cert {
        /// A host name or address under which browsers ask for the page; repeatable. The machine's name, if not given
        #[arg(long = "name", value_name = "HOST")]
        names: Vec<String>,
        /// Replace the one that is there: browsers that trust it have to trust the new one
        #[arg(long)]
        force: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Let somebody sign in with a password
    Add {
        /// The name
        name: String,
        /// What the user may do: viewer looks and changes nothing, operator changes what the page can change
        #[arg(long, value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Show who signs in with a password
    List,
    /// Let somebody sign in no more
    Remove {
        /// The name
        name: String,
    },
    /// Give somebody another password
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
    /// A file that holds the password in its first line; - reads stdin. Without, the terminal asks for it
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}
