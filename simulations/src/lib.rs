//! The production [`branchline_crdt::Replica`] in a simulated world: virtual time, simulated links, disks that forget,
//! one seed. The same seed gives the same run.

pub mod explain;
pub mod outcome;
pub mod report;
pub mod scale;
pub mod scenario;
pub mod store;
pub mod text;
pub mod trace;
pub mod world;

pub use world::World;
