//! What can be said to `check`.

use crate::commands::site::thresholds::Thresholds;

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// Entries by which a site differs from this one
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(1_000, 10_000))]
    pub(crate) behind_entries: Thresholds,
    /// Time since a site that has not confirmed everything last said what it holds, by this site's clock
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(86_400, 604_800))]
    pub(crate) behind_seconds: Thresholds,
    /// Time since a site that is not connected was last heard, by this site's clock
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(86_400, 604_800))]
    pub(crate) last_contact_seconds: Thresholds,
    /// Room on the disk
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::falling, default_value_t = Thresholds::new(1_024, 256))]
    pub(crate) disk_free_mib: Thresholds,
    /// Damaged journal frames
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(1, 1_000))]
    pub(crate) damaged: Thresholds,
}
