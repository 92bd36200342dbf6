//! The production [`branchline_crdt::Replica`] in a simulated world: virtual time, simulated links, disks that forget,
//! one seed. The same seed gives the same run.

pub mod check;
mod cli;
pub mod explain;
pub mod hostile;
pub mod invariant;
pub mod oracle;
pub mod outcome;
pub mod report;
mod run;
pub mod sabotage;
pub mod scale;
pub mod scenario;
pub mod store;
pub mod text;
pub mod trace;
pub mod tracer;
pub mod workload;
pub mod world;

pub use cli::main_of_sim;
pub use run::{run, run_sabotaged};
pub use world::World;
