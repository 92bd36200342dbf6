//! Power cuts, kills, and disks that fail.

pub(crate) mod crash_every_write;
pub(crate) mod crash_kills;
pub(crate) mod data_folder;
pub(crate) mod disk_faults;
pub(crate) mod disk_flips;
pub(crate) mod short_room;
