//! Jobs of several sites.

pub(crate) mod backlog;
pub(crate) mod carry;
pub(crate) mod heal;
pub(crate) mod hot;
pub(crate) mod live;
pub(crate) mod many;
pub(crate) mod page;
pub(crate) mod postgres;
pub(crate) mod reconnect;
