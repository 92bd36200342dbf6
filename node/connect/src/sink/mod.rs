//! Sinks: what is made of groups of records, pushed to a third party.
//!
//! A *group* is a primary record with those that belong to it. Its *representation* is what a jq expression makes of them.
//! A change of any of them makes the group dirty; the sink looks at it again, and sends the representation if it is another
//! than the one that the third party has. What is known of the third party stands in a collection of the network, so that
//! another site can take the sink over.
//!
//! | file | step |
//! |---|---|
//! | `config`, `check` | `[[sink]]` of the configuration |
//! | `group/shape` | what a group is made of |
//! | `state` | which groups are dirty, and what they depend on, at this site |
//! | `group/fresh` | the records that there are |
//! | `group/gather`, `group/look` | the records of a group |
//! | `group/delivered` | what is known of a group at the remote, in the network |
//! | `push` | one group's way: representation, digest, request, confirmation |
//! | `item` | what a [`Sink`] is asked to do |
//! | `http` | the kind that is described by URLs and expressions |
//! | `task` | what the task of a sink does, whatever it sends; `failure`, `back_off`: why it does not go on; `said`: when it reports |
//! | `worker` | one sink at work |
//! | `survey` | what a sink would push |
//! | `verify` | what others have changed at the remote |
//! | `sinks` | the sinks of a site |
//! | `weaviate` | the kind that keeps objects and edges in Weaviate |

mod back_off;
pub mod check;
pub mod config;
mod failure;
pub mod group;
mod http;
mod item;
mod push;
mod said;
pub mod sinks;
pub mod state;
pub mod survey;
mod task;
pub mod trial;
pub mod verify;
pub mod weaviate;
pub mod worker;

pub use item::{Abilities, Item, MakeSink, RemoteId, Sink, Stored};
