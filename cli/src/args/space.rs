//! What can be said of spaces.

use branchline_crdt::membership::Role;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum SpaceCommand {
    /// Make a space that only this site is in, as its admin
    Create {
        /// Its name: letters a to z, digits, - and _
        name: String,
    },
    /// Let a site into a space, or let it do more or less there
    Grant {
        /// The space
        space: String,
        /// The site's name or id
        site: String,
        /// What it may do there: reader, writer or admin
        #[arg(default_value_t = Role::Writer)]
        role: Role,
    },
    /// Shut a site out of a space for good
    Revoke {
        /// The space
        space: String,
        /// The site's name or id
        site: String,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
    /// Leave a space for good, once another site of it holds what this one wrote
    Leave {
        /// The space
        space: String,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
    /// Show the spaces that this site is in
    List,
    /// Show one space, and who holds what of it
    Show {
        /// The space
        space: String,
    },
}
