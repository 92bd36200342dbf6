//! What can be said of events.

use clap::Subcommand;

/// Commands on collections of events.
#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// Declare an empty collection as one of events: what is stored there is never changed
    Declare {
        /// The collection
        collection: String,
    },
    /// Store events, together or not at all; one that is there exactly so changes nothing
    Store {
        /// The collection
        collection: String,
        /// Each as a JSON object with id, type, aggregate_id, data and perhaps metadata; without any they are read from
        /// stdin, one in a line
        #[arg(value_name = "JSON")]
        events: Vec<String>,
    },
    /// Print events in the order in which this site took them in
    Load {
        /// The collection
        collection: String,
        /// Behind this version; from the first event on if not given
        #[arg(long, value_name = "VERSION")]
        since: Option<String>,
        /// Only of this aggregate
        #[arg(long, value_name = "ID")]
        aggregate: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Print the version behind all that this site shows
    Latest {
        /// The collection
        collection: String,
    },
    /// Print events as they come
    Watch {
        /// The collection
        collection: String,
        /// Behind this version, or from the first event on (`start`); what comes from now on if not given
        #[arg(long, value_name = "VERSION")]
        since: Option<String>,
    },
    /// List events that a site changed after they were stored, which is not shown
    Altered {
        /// The collection
        collection: String,
    },
}
