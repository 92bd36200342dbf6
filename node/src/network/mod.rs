//! Moves bytes between sites. It knows peers, members and topics, and nothing of what the bytes
//! mean.
//!
//! One task owns the libp2p swarm; the node talks to it through a [`NetworkHandle`] ([`Command`]
//! in) and one bounded channel ([`Event`] out). One step per file:
//!
//! | file | step |
//! |---|---|
//! | `config.rs` | what a network is started with, and every limit with its reason |
//! | `interface.rs` | commands, events and their failures |
//! | `handle.rs` | starting: checks, listening, spawning; sending commands |
//! | `swarm.rs` | transports and protocols, set up for few sites on slow links |
//! | `handshakes.rs` | one address does not take the places of all others |
//! | `members_only.rs` | the door: members get the protocols, strangers only an introduction |
//! | `topics.rs` | gossip on topics that nobody here reads is not taken in |
//! | `frame.rs` | how a request or an answer lies on a stream |
//! | `task.rs` | the loop: commands in, events out |
//! | `on_command.rs`, `on_event.rs` | what a command does; what a swarm event means |
//! | `redial.rs` | when to dial which member again |
//! | `peer_book.rs`, `address.rs` | where members were found, kept across restarts |
//!
//! # Who sees what
//! Noise (TCP) and TLS (QUIC) prove the other side's peer id before anything else. A connection is
//! a member's or a stranger's for its whole life, judged by the member set at the moment it is
//! established. A member's carries identify, ping, gossip and `/branchline/sync/3`. A stranger's
//! carries `/branchline/join/1` alone, one stream at a time, small, for seconds. Where a stranger
//! answers at the address of a member, the node hears of it, and may introduce itself.
//!
//! # Back-pressure
//! When the event channel is full the task stops polling the swarm, so peers feel it through their
//! streams; it goes on taking commands. A caller that waits for room in the command channel while
//! it does not read events can therefore not deadlock, unless it sends more than
//! [`NetworkLimits::command_queue`] failing requests between two reads of the event channel.

mod address;
mod config;
mod frame;
mod handle;
mod handshakes;
mod interface;
mod members_only;
mod on_command;
mod on_event;
mod peer_book;
mod processes;
mod redial;
mod swarm;
mod task;
#[cfg(test)]
mod tests;
mod topics;

pub use config::{NetworkConfig, NetworkError, NetworkLimits};
pub use handle::{NetworkHandle, SendError, is_free, start};
pub use interface::{
    Command, Event, IntroductionFailure, IntroductionToken, PeerInfo, RequestFailure,
    ResponseToken, Verdict,
};
pub use libp2p::gossipsub::MessageId;
