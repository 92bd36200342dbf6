//! What can be said of events.

use clap::Subcommand;

/// Commands on collections of events.
#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// Make an empty collection one of events: whatever is stored there never changes
    Declare {
        /// The collection
        collection: String,
    },
    /// Store events, either all or none of them; storing one again just as it is changes nothing
    Store {
        /// The collection
        collection: String,
        /// Events as JSON objects with id, type, aggregate_id, data and optionally metadata [default: read from stdin, one
        /// per line]
        #[arg(value_name = "JSON")]
        events: Vec<String>,
    },
    /// Print events in the order in which this site received them
    Load {
        /// The collection
        collection: String,
        /// Only events after this version [default: from the first event]
        #[arg(long, value_name = "VERSION")]
        since: Option<String>,
        /// Only events of this aggregate
        #[arg(long, value_name = "ID")]
        aggregate: Option<String>,
        /// Print at most this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Print the version of the latest event that this site shows
    Latest {
        /// The collection
        collection: String,
    },
    /// Print events as they arrive
    Watch {
        /// The collection
        collection: String,
        /// Events after this version, or `start` for all of them [default: only new ones]
        #[arg(long, value_name = "VERSION")]
        since: Option<String>,
    },
    /// List events that a site tried to change after they were stored; such changes are not shown
    Altered {
        /// The collection
        collection: String,
    },
}
