//! What is said of conflicts that are to be settled.

const EXAMPLES: &str = "\
Examples:
  branchline settle products TEA price --take-site north
  branchline settle products TEA price --value '\"2.60\"'
  branchline settle products --where \"shelf = 4\" --take-shown

A record that somebody changes in the meantime is left alone and reported.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SettleArgs {
    /// The collection
    pub(crate) collection: String,
    /// The record [default: all records of the collection that have conflicts]
    pub(crate) id: Option<String>,
    /// The field, as `conflicts` names it [default: all fields that have conflicts]
    pub(crate) field: Option<String>,
    /// Only records that match, as in `list --where`
    #[arg(long = "where", value_name = "FILTER", conflicts_with = "id")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) take: Take,
    /// Only if the record is still at this version, as `conflicts --json` shows it
    #[arg(long, value_name = "VERSION", requires = "id")]
    pub(crate) if_version: Option<String>,
}

/// How a value is chosen.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Take {
    /// Choose the value that this site wrote
    #[arg(long, value_name = "SITE")]
    pub(crate) take_site: Option<String>,
    /// Choose the value that is shown
    #[arg(long)]
    pub(crate) take_shown: bool,
    /// Choose this value, written as JSON
    #[arg(long, value_name = "JSON", requires = "field", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
}
