//! Which kinds the fields of an input have, and how its cells are read.

pub(super) mod booleans;
pub(super) mod columns;
pub(super) mod infer;
pub(super) mod numbers;
pub(super) mod plan;
