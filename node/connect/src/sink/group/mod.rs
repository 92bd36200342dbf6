//! A primary record and those that belong to it.

pub mod delivered;
pub(super) mod fresh;
pub mod gather;
pub mod look;
pub mod shape;
