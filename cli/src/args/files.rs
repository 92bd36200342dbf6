//! What can be said of bundles and backups.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct BundleArgs {
    /// The file, or - for stdout
    pub(crate) out: PathBuf,
    /// Only what is missing at the site whose `frontier` printed this file
    #[arg(long, value_name = "FRONTIER-FILE", conflicts_with = "for_site")]
    pub(crate) since: Option<PathBuf>,
    /// Only what is missing at this site according to its latest receipt, by name or id
    #[arg(long = "for", value_name = "SITE")]
    pub(crate) for_site: Option<String>,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a backup, even while the node is running; it contains the site's secret key
    Create {
        /// The file, or - for stdout
        out: PathBuf,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Restore the site from a backup into an empty data folder
    Restore {
        /// The backup
        backup: PathBuf,
    },
}
