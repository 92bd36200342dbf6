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

/// Records with every kind of value in a field, and its index.
fn counted(path: &str, values: &[Json]) -> (MemoryStore, Schema) {
    let schema = products();
    let mut random = SmallRng::seed_from_u64(11);
    let records = (0..900).map(|number| {
        let value = &values[random.random_range(0..values.len())];
        (format!("P-{number:03}"), json!({path: value, "shelf": number % 7}))
    });
    let records: Vec<_> = records.collect();
    // As written before the schema: not all is of the kind that it declares.
    let mut store = store(&Schema::default(), records.clone());
    let field = Field::new(path.to_owned(), &schema);
    let entry = |(id, fields): (String, Json)| {
        let fields = view(&Schema::default(), fields).1.fields;
        (indexes::entry(SPACE, "products", &field, &id, &fields), Some(Vec::new()))
    };
    store.apply(records.into_iter().map(entry).collect(), None).unwrap();
    (store, schema)
}

fn set_index(store: &mut MemoryStore, schema: &Schema, path: &str, state: IndexState) {
    let field = Field::new(path.to_owned(), schema);
    let index = codec::encode(&IndexRow::new(&field, state));
    store.apply(vec![(indexes::index(SPACE, "products", path), Some(index))], None).unwrap();
}

#[test]
fn an_index_counts_as_reading_all_records_does() {
    let longest = "x".repeat(255);
    let names = [
        json!("a"),
        json!("a\0"),
        json!("a\0\0b"),
        json!(""),
        json!(null),
        json!(longest),
        json!(5),
        json!(true),
        json!([1]),
        json!({"x": 1}),
        json!(["y"]),
    ];
    let prices = [
        json!("2.50"),
        json!("2.5"),
        json!("2.500"),
        json!("10"),
        json!("-1"),
        json!("cheap"),
        json!(2.5),
        json!(10),
        json!(null),
    ];
    let times = [
        json!("2026-01-31T10:30:00+01:00"),
        json!("2026-01-31T09:30:00Z"),
        json!("late"),
        json!("2026-01-31T09:30:00"),
        json!(null),
    ];
    for (path, values) in [("name", &names[..]), ("price", &prices), ("at", &times)] {
        let (mut store, schema) = counted(path, values);
        let asked = SummaryText { by: Some(path), ..SummaryText::default() };
        let by_reading = summed(&store, &schema, asked);
        assert_eq!(by_reading.scanned, 900);
        set_index(&mut store, &schema, path, IndexState::Ready);
        let by_index = summed(&store, &schema, asked);
        assert_eq!(by_index.groups, by_reading.groups, "{path}");
        assert_eq!(by_index.scanned, by_index.groups.len(), "one record of each group");
        assert!(by_index.unknown_fields.is_empty() && by_index.unlike.is_empty());
        let bounds = Bounds { sorted: 899, ..BOUNDS };
        let query = SummaryQuery::parse(&schema, asked).unwrap();
        let found = summary(&store, SPACE, "products", &query, bounds);
        assert!(matches!(found, Err(SummaryError::TooMany { max: 899 })), "{found:?}");
    }
}

#[test]
fn what_an_index_cannot_count_is_read() {
    let long = [json!("x".repeat(256)), json!("x".repeat(257)), json!("y")];
    let (mut store, schema) = counted("name", &long);
    set_index(&mut store, &schema, "name", IndexState::Ready);
    let found = summed(&store, &schema, SummaryText { by: Some("name"), ..SummaryText::default() });
    assert_eq!((found.groups.len(), found.scanned), (3, 900), "keys have only their beginning");

    let (mut store, schema) = counted("name", &[json!("a"), json!("b")]);
    let by = |by| SummaryText { by: Some(by), ..SummaryText::default() };
    for state in [IndexState::Dropping, IndexState::Building { after: None, records: 0 }] {
        set_index(&mut store, &schema, "name", state);
        assert_eq!(summed(&store, &schema, by("name")).scanned, 900);
    }
    set_index(&mut store, &schema, "name", IndexState::Ready);
    let sums = SummaryText { measures: [Some("shelf"), None, None, None], ..by("name") };
    let some = SummaryText { filter: Some("shelf < 7"), ..by("name") };
    for asked in [sums, some, by("name,shelf"), by("shelf"), SummaryText::default()] {
        assert_eq!(summed(&store, &schema, asked).scanned, 900);
    }
    assert_eq!(summed(&store, &schema, by("name")).scanned, 2);
    // A row of the index that is about a record which has another value by now.
    let field = Field::new("name".to_owned(), &schema);
    let old = view(&schema, json!({"name": "0"})).1.fields;
    let old = indexes::entry(SPACE, "products", &field, "P-000", &old);
    store.apply(vec![(old, Some(Vec::new()))], None).unwrap();
    let found = summed(&store, &schema, by("name"));
    assert_eq!((found.groups.len(), found.scanned), (2, 900));
}
