//! What can be said to `check`.

use crate::commands::site::thresholds::Thresholds;

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// How many entries a site may be behind or ahead of this one
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(1_000, 10_000))]
    pub(crate) behind_entries: Thresholds,
    /// For sites that have not confirmed everything: seconds since their last receipt, by this site's clock
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(86_400, 604_800))]
    pub(crate) behind_seconds: Thresholds,
    /// For sites that are not connected: seconds since they were last heard from, by this site's clock
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(86_400, 604_800))]
    pub(crate) last_contact_seconds: Thresholds,

    /// Free space on the disk, in MiB
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::falling, default_value_t = Thresholds::new(1_024, 256))]
    pub(crate) disk_free_mib: Thresholds,
    /// How many frames of the journal are damaged
    #[arg(long, value_name = "WARNING,CRITICAL", value_parser = Thresholds::rising, default_value_t = Thresholds::new(1, 1_000))]
    pub(crate) damaged: Thresholds,
}
