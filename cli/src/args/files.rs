//! What can be said of bundles and backups.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct BundleArgs {
    /// The file; - writes to stdout
    pub(crate) out: PathBuf,
    /// Only what the site lacks that printed this file with `frontier`
    #[arg(long, value_name = "FRONTIER-FILE", conflicts_with = "for_site")]
    pub(crate) since: Option<PathBuf>,
    /// Only what this site lacks by its latest receipt: a name or id
    #[arg(long = "for", value_name = "SITE")]
    pub(crate) for_site: Option<String>,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a backup, also while the node runs; it holds the site's secret key
    Create {
        /// The file; - writes to stdout
        out: PathBuf,
        /// Overwrite the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Rebuild the site in an empty data folder
    Restore {
        /// The backup
        backup: PathBuf,
    },
}
