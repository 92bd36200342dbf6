//! What can be said of logs, and of members' history.

/// Which entries are meant.
#[derive(clap::Args)]
pub(crate) struct LogArgs {
    /// Only entries of this site, by name or id, even if it is no longer a member; or one entry, as any command prints it
    #[arg(value_name = "SITE|ENTRY")]
    pub(crate) of: Option<String>,
    /// List at most this many entries
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only entries before this one, or before this position in the journal
    #[arg(long, value_name = "ENTRY|POSITION")]
    pub(crate) before: Option<String>,
}

/// What is asked of the members.
#[derive(clap::Args)]
pub(crate) struct MembersArgs {
    /// Show who admitted, revoked, renamed or changed whom, and when; with --space, in that space
    #[arg(long)]
    pub(crate) history: bool,
    /// Show at most this many steps of the history
    #[arg(long, value_name = "N", default_value_t = 100, requires = "history")]
    pub(crate) limit: usize,
    /// Only steps before this one
    #[arg(long, value_name = "STEP", requires = "history")]
    pub(crate) before: Option<u64>,
}
