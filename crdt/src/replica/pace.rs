//! How a replica is paced: by the node on a machine, by the simulator in virtual time.

/// Inputs that share one commit: enough to fill the time of one sync of a disk, few enough for an answer within some ms.
pub const GROUP_INPUTS_MAX: usize = 256;
/// How often the replica gets [`Input::Tick`](super::Input::Tick) at most, in ms.
pub const TICK_MS: u64 = 100;
/// Time for a request to another site and its response, in ms; then it counts as not answered.
pub const REQUEST_TIMEOUT_MS: u64 = 60_000;
