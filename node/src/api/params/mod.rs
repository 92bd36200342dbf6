//! What handlers take from a request.

pub(crate) mod accept;
pub(crate) mod bounds;
pub(crate) mod extract;
pub(crate) mod named;
pub(crate) mod object;
pub(crate) mod page;
pub(crate) mod values;
