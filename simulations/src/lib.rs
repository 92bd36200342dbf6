//! The production [`branchline_crdt::Replica`] in a simulated world: virtual time, simulated links, stores in memory,
//! one seed. The same seed gives the same run.

pub mod world;

pub use world::World;
