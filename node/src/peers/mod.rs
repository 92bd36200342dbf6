//! What a site notes of the others, by its own clock.

pub mod heard;
pub mod others;
