//! What can be said of logs, and of members' history.

/// Which entries are meant.
#[derive(clap::Args)]
pub(crate) struct LogArgs {
    /// Only of this site, by its name or id, also of one that is a member no more; or this entry, as any command prints it
    #[arg(value_name = "SITE|ENTRY")]
    pub(crate) of: Option<String>,
    /// At most so many entries
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only entries before this one, or before this place in the journal
    #[arg(long, value_name = "ENTRY|POSITION")]
    pub(crate) before: Option<String>,
}

/// What is asked of the members.
#[derive(clap::Args)]
pub(crate) struct MembersArgs {
    /// Show what became of them instead: who let in, shut out, renamed or changed whom, and when; with --space, of a space's
    #[arg(long)]
    pub(crate) history: bool,
    /// At most so many steps of the history
    #[arg(long, value_name = "N", default_value_t = 100, requires = "history")]
    pub(crate) limit: usize,
    /// Only steps before this one
    #[arg(long, value_name = "STEP", requires = "history")]
    pub(crate) before: Option<u64>,
}
