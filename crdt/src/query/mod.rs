//! Queries: which records of a collection are shown, in which order, and what they come to.
//!
//! A filter is a text such as
//!
//! ```text
//! price >= 2.50 and (origin.city starts with 'Ya' or shelf in (1, 4)) and not note is null
//! ```
//!
//! | part | how it is written |
//! |---|---|
//! | field | `price`, `origin.city`; in backquotes where it has other characters: `` `unit price` `` |
//! | string, timestamp, datetime, bytes | `'Tea'` or `"Tea"`, a quote inside doubled; times in RFC 3339, bytes in base64 |
//! | number | `7`, `-2.50`, `1e20`, of at most 38 digits |
//! | others | `true`, `false`, `null` |
//! | tests | `= != < <= > >=`, `in (…, …)`, `starts with '…'`, `is null`, `is not null` |
//! | connection | `not` before `and` before `or`, parentheses |
//!
//! A field that the collection's schema declares is compared as its kind says, and a literal that does not fit the kind
//! is an error at its place in the text ([`QueryError::offset`]). Any other field is compared by what each record holds
//! there. A test of two values that cannot be compared is false, so `x != 5` holds wherever `x = 5` does not. A field
//! that is missing is null, and null equals null alone.
//!
//! Numbers of all kinds are compared exactly. A float counts as the shortest decimal that reads as it, in sums too.
//!
//! A datetime without a zone is compared as if it were in UTC, and comes behind the moment with a zone that is equal to it
//! then ([`crate::record::Datetime`]); the two are not equal.
//!
//! Values have one order, whatever their kinds ([`Scalar`](crate::record::Scalar)): it decides `<`, the order of a list and of groups, and the
//! order of rows in an index. Strings are distinguished by all their bytes, but listed by the first [`KEY_STRING_BYTES`](crate::record::KEY_STRING_BYTES);
//! records that are equal by then are listed by id.
//!
//! An index of the schema ([`crate::store::tables::indexes`]) is used where it leads to few records, and never decides what is
//! found: each record that it leads to is looked at. It counts records by the values of its field, where nothing else is asked
//! of them.
//!
//! Nothing here looks at more records than [`Bounds`] allow: a page then ends early, with a cursor to go on from.

mod by_index;
mod counts;
mod error;
mod filter;
mod lexer;
mod list;
mod order;
mod page;
mod parser;
mod source;
mod summary;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
mod total;
mod unlike;
mod unseen;

pub use counts::summary;
pub use error::{QueryError, QueryFault, QueryPart};
pub use filter::Filter;
pub use list::Query;
pub use order::{Order, QueryCursor, WrongCursor};
pub use page::{Bounds, Page, PageError, page};
pub use summary::{
    GROUPS_MAX, Group, Measure, MeasureValue, Summary, SummaryError, SummaryQuery, SummaryText,
};
pub use unlike::Unlike;

/// Longest text of a filter, an order or a list of fields, in bytes: it travels in the path of a request.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most tests and literals of one filter: each is looked at for every record.
pub const ITEMS_MAX: usize = 1_000;
/// How deep a filter may nest: it is read and evaluated recursively.
pub const NESTING_MAX: usize = 32;
/// Most fields of an order, a grouping, or of what is summed up.
pub const FIELDS_MAX: usize = 16;
