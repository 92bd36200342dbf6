//! What a site notes of the others, by its own clock.

pub mod added;
pub mod heard;
pub mod others;
mod saver;
