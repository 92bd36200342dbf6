//! SQL bridges: tables of an office's own database, kept in step with collections, in either or both directions.
//!
//! A row's way into the network (*capture*): a trigger notes which row changed ([`database`]); the worker reads the
//! notes and the rows in one snapshot, compares each row with its *view*, what the node knows the row to hold, and
//! writes the difference as edits of records. A record's way into the table (*apply*): the feed tells which record
//! changed, the worker compares it with the view and writes the difference, never over a row that is not as its view.
//!
//! | file | step |
//! |---|---|
//! | `config` | `[[bridge]]` of `branchline.toml` |
//! | `shape` | a table as the database's catalogue has it |
//! | `mapping` | a table's settings and its shape together: which column is which field, or why not |
//! | `record_id` | how a row's record is called |
//! | `codec` | a cell as a field's value and back, exactly or not at all |
//! | `plan`, `survey` | all of it for a person to read; what the database is asked for that |
//! | `cell`, `database` | rows as text, and what is asked of each of the three databases |
//! | `postgres`, `mariadb`, `sqlite` | how each of them does it |
//! | `state` | what a bridge remembers durably |
//! | `worker` | the task that does all of it |
//! | `bridges` | the bridges of one site |

pub mod bridges;
pub mod cell;
pub mod codec;
pub mod config;
pub mod database;
pub mod mapping;
pub mod mariadb;
pub mod plan;
pub mod postgres;
pub mod record_id;
pub mod shape;
pub mod sqlite;
pub mod state;
pub mod survey;
pub mod value;
pub mod worker;
