//! Large writes are made ready on the caller's thread, so that the replica's has little left to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use branchline_crdt::ids::{Author, SpaceId};
use branchline_crdt::record::{ActorBytes, Drafted, SCHEMA_COLLECTION, Schema};
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::StoreError;
use branchline_crdt::store::read;
use rayon::prelude::{IntoParallelRefMutIterator, ParallelIterator};

use crate::storage::Reader;

/// With fewer edits, handing them to another thread takes longer than making them.
const EDITS_MIN: usize = 16;

/// Whether it pays to make the edits of these transactions beforehand.
pub(crate) fn are_worthwhile(transactions: &[LocalTransaction]) -> bool {
    transactions.iter().map(|transaction| transaction.edits.len()).sum::<usize>() >= EDITS_MIN
}

/// Makes the edits as those of new records, as far as that goes, on all cores. The replica makes the others, and those
/// for which something is not as it is reported here.
pub(crate) fn draft(
    transactions: &mut [LocalTransaction],
    author: Author,
    time_ms: i64,
    reader: &Reader,
    space: SpaceId,
) -> Result<(), StoreError> {
    let actor = ActorBytes(author.actor());
    let schemas = schemas(transactions, reader, space)?;
    let draft = |edit: &mut RecordEdit| {
        let RecordEdit { collection, edit, expected, drafted, .. } = edit;
        if collection != SCHEMA_COLLECTION && expected.is_none() {
            let schema = schemas.get(collection).cloned().flatten();
            *drafted = Drafted::new(actor, time_ms, edit, schema);
        }
    };
    transactions
        .par_iter_mut()
        .for_each(|transaction| transaction.edits.iter_mut().for_each(draft));
    Ok(())
}

/// The schemas of the collections that are written to.
fn schemas(
    transactions: &[LocalTransaction],
    reader: &Reader,
    space: SpaceId,
) -> Result<BTreeMap<String, Option<Arc<Schema>>>, StoreError> {
    let mut schemas = BTreeMap::new();
    for RecordEdit { collection, .. } in transactions.iter().flat_map(|t| &t.edits) {
        if !schemas.contains_key(collection) {
            let schema = read::schema(reader, space, collection)?.map(Arc::new);
            schemas.insert(collection.clone(), schema);
        }
    }
    Ok(schemas)
}
