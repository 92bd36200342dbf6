//! What all connectors share.
//!
//! | file | what |
//! |---|---|
//! | `board` | the jobs of a site, asked for, at work and done |
//! | `tenure` | which site runs a connector |
//! | `schedule`, `duration`, `part` | when something is due, how long it takes, and how much of it |
//! | `jq`, `digest` | what is taken out of a value, and whether it is the same value |
//! | `secret`, `template` | secrets in the configuration, and texts with places to fill |
//! | `fault`, `retry`, `rate` | what a failed request means, when it is tried again, and how many go out |
//! | `store` | a SQLite file in which a connector remembers |

pub mod board;
pub mod digest;
pub mod duration;
pub mod fault;
pub(crate) mod feed;
pub mod jq;
pub mod part;
pub mod rate;
pub mod retry;
pub mod schedule;
pub mod secret;
pub mod store;
pub mod template;
pub mod tenure;
