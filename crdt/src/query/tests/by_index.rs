//! Lists by an index with more rows than are read at a time.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::record::Field;
use crate::store::tables::indexes::{self, IndexRow, IndexState};

/// Few records have a name of their own, and some names go on with zero bytes.
fn name(random: &mut SmallRng) -> String {
    match random.random_range(0..10) {
        number @ 0..6 => ["", "a", "a\0", "a\0\0b", "b", "\u{e9}"][number].to_owned(),
        _ => format!("u{:03}", random.random_range(0..900)),
    }
}

/// Writes a record, and its row in the index by name.
fn write(store: &mut MemoryStore, names: &mut BTreeMap<String, String>, id: String, name: String) {
    let schema = products();
    let field = Field::new("name".to_owned(), &schema);
    let key = RecordKey { space: SPACE, collection: "products".to_owned(), id };
    let entry = |name: &str| {
        let fields = view(&schema, json!({"name": name})).1.fields;
        indexes::entry(SPACE, "products", &field, &key.id, &fields)
    };
    let live = view(&schema, json!({"name": name})).0.save();
    let row = RecordRow { changes: Changes::default(), live: &live, first: None };
    let mut rows = vec![(key.record(), Some(codec::encode(&row)))];
    let after = entry(&name);
    rows.extend(names.insert(key.id.clone(), name).map(|before| (entry(&before), None)));
    rows.push((after, Some(Vec::new())));
    store.apply(rows, None).unwrap();
}

#[test]
fn pages_by_an_index_join_in_either_direction_while_records_are_written() {
    let mut random = SmallRng::seed_from_u64(7);
    let (mut store, mut names) = (MemoryStore::new(), BTreeMap::new());
    let field = Field::new("name".to_owned(), &products());
    let index = codec::encode(&IndexRow::new(&field, IndexState::Ready));
    store.apply(vec![(indexes::index(SPACE, "products", "name"), Some(index))], None).unwrap();
    for number in 0..900 {
        // One of five moves about.
        let id = format!("{}-{number:03}", if number % 5 == 0 { "moving" } else { "still" });
        write(&mut store, &mut names, id, name(&mut random));
    }
    for (order, is_descending) in [("name", false), ("-name", true)] {
        let query = Query::parse("products", &products(), None, Some(order)).unwrap();
        let mut expected: Vec<_> =
            names.iter().filter(|(id, _)| id.starts_with("still")).map(|(id, n)| (n, id)).collect();
        expected.sort_by(|(a, a_id), (b, b_id)| {
            let by_name = if is_descending { b.cmp(a) } else { a.cmp(b) };
            by_name.then_with(|| a_id.cmp(b_id))
        });
        let expected: Vec<String> = expected.into_iter().map(|(_, id)| id.clone()).collect();
        for records in [7, 128, 300, 1_000] {
            let bounds = Bounds { records, ..BOUNDS };
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = page(&store, SPACE, "products", &query, after.as_ref(), bounds).unwrap();
                assert_eq!(page.scanned, 0, "the index serves");
                found.extend(page.records.into_iter().map(|(id, _)| id));
                after = page.next;
                if after.is_none() {
                    break;
                }
                for _ in 0..10 {
                    let id = format!("moving-{:03}", random.random_range(0..180) * 5);
                    write(&mut store, &mut names, id, name(&mut random));
                }
            }
            found.retain(|id| id.starts_with("still"));
            assert_eq!(found, expected, "{order} by {records}");
        }
    }
}
