//! What can be said of spaces.

use branchline_crdt::membership::Role;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum SpaceCommand {
    /// Create a space; this site is its first member and its admin
    Create {
        /// Its name: letters a to z, digits, - and _
        name: String,
    },
    /// Add a site to a space, or change its role there
    Grant {
        /// The space
        space: String,
        /// The site's name or id
        site: String,
        /// Its role there: reader, writer or admin
        #[arg(default_value_t = Role::Writer)]
        role: Role,
    },
    /// Shut a site out of a space for good
    Revoke {
        /// The space
        space: String,
        /// The site's name or id
        site: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Leave a space for good, once another of its sites holds what this one wrote
    Leave {
        /// The space
        space: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// List the spaces that this site belongs to
    List,
    /// Show a space, its sites, and how far behind they are
    Show {
        /// The space
        space: String,
    },
}
