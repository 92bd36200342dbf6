//! Scenarios: an organisation, its links, its work, and what goes wrong, as a TOML file.
//!
//! ```toml
//! about = "Three shops lose their head office for two hours a day."
//! offices = ["head", "north", "south"]   # or a number: 12 makes office-1 to office-12
//! duration = "3d"                        # how long it is watched; then the faults end
//! converge_within_rounds = 20            # optional: bound on the sync rounds until all are in step again
//!
//! [topology]                             # optional; a hub at the first office if not given
//! shape = "hub"                          # hub, chain, mesh, ring (in the order of the offices) or links
//! hub = "head"                           # with hub only; the first office if not given
//! # links = [["head", "north"]]          # with links only: every pair that is linked
//!
//! [link]                                 # optional: every link, as it is on a good day
//! latency = "40ms"                       # delay of a message, one way
//! jitter = "10ms"                        # added to it at random, at the most
//! loss = "0.1%"                          # messages lost
//! bandwidth = "10 Mbit/s"                # no bound if not given
//!
//! [clocks]                               # optional
//! skew = "2s"                            # each office's clock is wrong by up to this much, either way
//! drift_ppm = 50                         # and gains or loses up to so many seconds in a million
//!
//! [workload]
//! writes_per_hour = 6                    # at each office
//! schema = true                          # whether the first office declares the fields' kinds at the start
//!
//! [[workload.collection]]
//! name = "products"
//! records = 100                          # how many different records are written to
//! hot = "10%"                            # share of the writes that go to one and the same record
//! mix = { registers = 6, counters = 3, text = 1, lists = 1, deletes = 1, transactions = 1 }
//!
//! [[fault]]
//! kind = "stop"
//! offices = ["head"]
//! at = "9h"                              # when it begins, since the start
//! for = "2h"                             # how long it lasts; to the end if not given
//! every = "1d"                           # optional: again and again
//! ```
//!
//! The numbers in `mix` are weights. Registers set `price`, counters add to `stock`, text edits `note`, lists edit
//! `tags`, deletes remove a record or bring it back, transactions set and count in several records at once; the last
//! of them may reach into other collections. Text takes `schema = true`, for that alone makes a field a text.
//!
//! Kinds of faults, each with `at`, and `for` and `every` where it can last and recur:
//!
//! | kind | keys | what |
//! |---|---|---|
//! | `split` | `groups` | links between the groups are cut |
//! | `isolate` | `offices` | each loses all its links; its people work on |
//! | `cut` | `links` | these links are cut |
//! | `one-way` | `links` | `["a", "b"]`: b hears a, a does not hear b |
//! | `degrade` | `links`, `quality` | worse links; `quality` has the keys of `[link]` |
//! | `stop` | `offices` | the node is switched off and on again; nobody writes there meanwhile |
//! | `crash` | `offices` | the power fails, bytes not synced are lost; off for 10 s if `for` is not given |
//! | `torn-frame` | `offices` | the same in the middle of a write |
//! | `bit-flip` | `offices`, `bits` | bits of the journal change on the drive |
//! | `lost-tables` | `offices` | the tables are lost and rebuilt from the journal |
//! | `full-disk` | `offices` | no room left |
//! | `short-room` | `offices` | too little room for what others write; own writes go on |
//! | `restore` | `offices`, `age` | the disk is replaced by a copy that is so old |
//! | `clone` | `offices` | a copy of the disk runs as a second node of the same site |
//! | `join-late` | `offices` | these do not exist before, then join |
//! | `clock` | `offices`, `offset` | the wall clock jumps, and back at the end |
//! | `byzantine` | `offices`, `acts` | members that lie: `forged-author`, `equivocation`, `malformed-changes`, `bombs`, `incarnations`, `decisions` |
//! | `random` | `kinds`, `per_day` | faults of these kinds (all, if not given) by chance, each up to `for` long |
//!
//! A `mix` or `acts` that is not given means a usual mixture, or all of them; `links` of a fault that are not given
//! mean every link of the `offices` named instead.

mod error;
mod fault;
mod file;
mod resolve;
mod schedule;
mod shipped;
mod units;
mod words;

#[cfg(test)]
mod tests;

pub use error::{Place, ScenarioError};
pub use fault::{Act, Fault, FaultKind, FaultName, Mixture};
pub use schedule::Occurrence;
pub use shipped::{LoadError, SHIPPED, Shipped, load, suggest};
pub use units::{DAY_MS, HOUR_MS, Readable};

/// An office of a scenario: its place in [`Scenario::offices`].
pub type Office = usize;

/// An organisation, its links, its work, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// What it is called: the file's name without its ending.
    pub name: String,
    /// What it is about, in words for everyone.
    pub about: String,
    /// The offices' names. Two or more; the first founds the network.
    pub offices: Vec<String>,
    /// Pairs of offices that are linked, each once, the smaller first.
    pub links: Vec<(Office, Office)>,
    /// Every link, as it is on a good day.
    pub quality: LinkQuality,
    /// How wrong the clocks are.
    pub clocks: Clocks,
    /// What people write.
    pub workload: Workload,
    /// How long it is watched under faults, in ms.
    pub duration_ms: u64,
    /// What goes wrong, as planned.
    pub faults: Vec<Fault>,
    /// What goes wrong by chance.
    pub mixtures: Vec<Mixture>,
    /// Bound on the sync rounds until all are in step after the faults; `None`: the simulator's own.
    pub converge_within_rounds: Option<u32>,
}

impl Scenario {
    /// Reads a scenario from the text of a file. `name` is what the scenario is called.
    ///
    /// # Errors
    /// [`ScenarioError`] says what the text does not say as it should, and where.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        resolve::resolve(name, text)
    }

    /// Names of these offices.
    pub fn names(&self, offices: &[Office]) -> Vec<String> {
        offices.iter().filter_map(|office| self.offices.get(*office).cloned()).collect()
    }
}

/// How a link carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkQuality {
    /// Delay of a message one way, in ms.
    pub latency_ms: u64,
    /// Most that is added to it at random, in ms.
    pub jitter_ms: u64,
    /// Messages lost among a million.
    pub loss_ppm: u32,
    /// Bytes that pass in a second; `None`: no bound.
    pub bytes_per_second: Option<u64>,
}

/// A good line between two towns.
impl Default for LinkQuality {
    fn default() -> Self {
        Self { latency_ms: 40, jitter_ms: 10, loss_ppm: 0, bytes_per_second: None }
    }
}

/// How wrong the clocks are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Each office's clock is wrong by up to this much, either way, in ms.
    pub skew_ms_max: u64,
    /// And gains or loses up to so many seconds in a million.
    pub drift_ppm_max: u32,
}

/// What people write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Writes in an hour, at each office.
    pub writes_per_hour: u32,
    /// Whether the first office declares the fields' kinds at the start.
    pub schema: bool,
    /// Where they write. One or more.
    pub collections: Vec<CollectionWork>,
}

/// What people write in one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionWork {
    /// Its name.
    pub name: String,
    /// How many different records are written to.
    pub records: u32,
    /// Share of the writes that go to one and the same record, in parts of a million.
    pub hot_ppm: u32,
    /// What they do.
    pub mix: Mix,
}

/// What people do, as weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Set `price`.
    pub registers: u32,
    /// Add to `stock` or take from it.
    pub counters: u32,
    /// Edit the text `note`.
    pub text: u32,
    /// Edit the list `tags`.
    pub lists: u32,
    /// Delete a record, or bring a deleted one back.
    pub deletes: u32,
    /// Set and count in several records at once.
    pub transactions: u32,
}

impl Mix {
    /// All weights together; never 0 in a [`Scenario`].
    pub fn sum(&self) -> u64 {
        let weights =
            [self.registers, self.counters, self.text, self.lists, self.deletes, self.transactions];
        weights.into_iter().map(u64::from).sum()
    }
}

/// A shop's day: mostly prices and stock.
impl Default for Mix {
    fn default() -> Self {
        Self { registers: 6, counters: 6, text: 0, lists: 1, deletes: 1, transactions: 2 }
    }
}
