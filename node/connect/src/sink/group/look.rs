//! Groups as they are in the node's tables now.

use branchline_crdt::query::Filter;
use branchline_crdt::record::Fields;
use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::{ReadTables, RecordKey, SpaceId, StoreError, read};

use super::gather::{Gathered, GroupRecords, Members, gather};
use super::shape::Shape;
use crate::sink::group::delivered::Delivered;

/// Why groups cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The tables cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filter does not fit the schema that the collection has by now.
    #[error("where: {0}")]
    Filter(String),
}

/// A group, and what is known of it at the remote.
pub(in crate::sink) struct Looked {
    pub(in crate::sink) gathered: Gathered,
    pub(in crate::sink) known: Option<Delivered>,
}

struct Tables<'a, T>(&'a T, SpaceId);

impl<T: ReadTables> GroupRecords for Tables<'_, T> {
    type Error = StoreError;

    fn fields(&self, collection: &str, id: &str) -> Result<Option<Fields>, StoreError> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let view = read::record(self.0, &RecordKey { space: self.1, collection, id })?;
        Ok(view.filter(|view| !view.deleted && !view.heads.is_empty()).map(|view| view.fields))
    }
}

/// Reads groups at one go, with what is known of them in a collection.
pub(in crate::sink) async fn look(
    node: &Handle,
    shape: std::sync::Arc<Shape>,
    delivered: &str,
    groups: Vec<(String, Members)>,
) -> Result<Vec<Looked>, LookError> {
    let delivered = delivered.to_owned();
    let read = node.read(move |tables, space| {
        let schema = read::schema(tables, space, &shape.collection)?.unwrap_or_default();
        let filter = shape.filter.as_ref().map(|text| Filter::parse(text, &schema)).transpose();
        let filter = match filter {
            Ok(filter) => filter,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let records = Tables(tables, space);
        let looked = groups.iter().map(|(id, members)| {
            let gathered = gather(&shape, filter.as_ref(), id, members, &records)?;
            let key = RecordKey { space, collection: delivered.clone(), id: id.clone() };
            let known = read::record(tables, &key)?.as_ref().and_then(Delivered::of);
            Ok(Looked { gathered, known })
        });
        looked.collect::<Result<Vec<_>, StoreError>>().map(Ok)
    });
    read.await?.map_err(LookError::Filter)
}
