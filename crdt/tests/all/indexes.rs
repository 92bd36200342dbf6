//! Declared indexes follow the records, whatever happens to either.

use std::collections::BTreeSet;

use branchline_crdt::inspect::verify::verify;
use branchline_crdt::query::{self, Bounds, Query};
use branchline_crdt::record::{Edit, Field, SCHEMA_COLLECTION, View};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::indexes::{self, IndexRow, IndexState};
use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage, decode_row, walk};
use branchline_crdt::store::{Row, Store, StoreError};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value as Json, json};

use super::pair::{Pair, put};

const COLLECTION: &str = "products";
/// More than any test has.
const ENOUGH: usize = 1_000_000;

fn fields(json: Json) -> Map<String, Json> {
    let Json::Object(fields) = json else { panic!("no object") };
    fields
}

fn declare(pair: &mut Pair, schema: Json) {
    let edit = Edit::Put(fields(schema));
    pair.transact(0, None, vec![RecordEdit::new(SCHEMA_COLLECTION, COLLECTION, edit)]).unwrap();
}

/// Asserts that each index has a row for every record that it should have, and no other. Returns how many are ready
/// and how many are not.
fn check(pair: &Pair, office: usize) -> (usize, usize) {
    let (tables, space) = (pair.replicas[office].store(), pair.space());
    let mut counts = (0, 0);
    walk(tables, indexes::ALL, None, |key, value| {
        let row: IndexRow = decode_row("index row", value)?;
        let (_, collection, path) = indexes::index_of_key(key).unwrap();
        let field = Field { path, kind: row.kind() };
        let (mut expected, mut built) = (BTreeSet::new(), BTreeSet::new());
        let prefix = indexes::entries(space, &collection, &field.path);
        let is_built = |entry: &[u8]| match &row.state {
            IndexState::Ready => true,
            IndexState::Building { after, .. } => {
                after.as_deref().is_some_and(|end| &entry[prefix.len()..] <= end)
            }
            IndexState::Dropping => false,
        };
        read::each_of(tables, space, &collection, None, |id, view| {
            let entry = |fields| indexes::entry(space, &collection, &field, &id, fields);
            let entry = view.live_fields().map(entry);
            expected.extend(entry.clone());
            built.extend(entry.filter(|entry| is_built(entry)));
            Ok(true)
        })?;
        let found: BTreeSet<_> =
            tables.scan(&prefix, None, ENOUGH)?.into_iter().map(|(key, _)| key).collect();
        let is_kept = row.state != IndexState::Dropping;
        assert!(!is_kept || found.is_subset(&expected), "{}: {:?}", field.path, row.state);
        assert!(built.is_subset(&found), "{}: {:?}", field.path, row.state);
        match row.state {
            IndexState::Ready => counts.0 += 1,
            IndexState::Building { .. } | IndexState::Dropping => counts.1 += 1,
        }
        Ok(true)
    })
    .unwrap();
    counts
}

/// Asserts that what the product itself looks for is not there.
fn check_verified(pair: &Pair, office: usize) {
    let report = verify(pair.replicas[office].store(), &[pair.space()]).unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

/// The same tables without their indexes.
struct Plain<'t>(&'t MemoryStore);

impl ReadTables for Plain<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if key.starts_with(indexes::ALL) { Ok(None) } else { self.0.get(key) }
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        if prefix.starts_with(indexes::ALL) {
            page.clear();
            Ok(())
        } else {
            self.0.scan_page(prefix, after, limits, page)
        }
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.0.scan_back(prefix, before, limit)
    }
}

/// All that a query gives, page by page.
fn found(tables: &impl ReadTables, pair: &Pair, query: &Query) -> Vec<(String, View)> {
    let bounds = Bounds { records: 7, bytes: ENOUGH, scanned: 50, sorted: ENOUGH };
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = query::page(tables, pair.space(), COLLECTION, query, after.as_ref(), bounds);
        let page = page.unwrap();
        found.extend(page.records);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Asserts that queries find the same with indexes and without.
fn check_queries(pair: &Pair, office: usize) {
    let tables = pair.replicas[office].store();
    let schema = read::schema(tables, pair.space(), COLLECTION).unwrap().unwrap_or_default();
    for (filter, order) in [
        (Some("shelf = 3"), None),
        (Some("shelf in (1, 5, 5) and price > 2"), None),
        (Some("shelf >= 2 and shelf < 4"), Some("-price,name")),
        (Some("price <= 2.50"), None),
        (Some("price > -1 and not shelf = 3"), Some("name")),
        (Some("name starts with 'b'"), None),
        (Some("name starts with ''"), Some("shelf")),
        (Some("name is null"), None),
        (Some("price is not null or shelf = 1"), None),
        (Some("name = 'a' and shelf = 1 and price = 1.0"), None),
        (None, Some("price")),
        (None, Some("-price")),
        (None, Some("name")),
        (None, Some("-shelf")),
        (None, Some("-name")),
        (None, Some("shelf")),
        (Some("at > '2024-01-01T00:00:00Z'"), Some("-at")),
        (Some("at >= '2024-01-01T00:00:00' and at < '2024-01-01T00:00:00.5Z'"), None),
        (Some("at in ('2024-01-01T01:00:00.5+01:00', null)"), Some("at")),
        (None, Some("at")),
        (None, Some("-at")),
    ] {
        let query = Query::parse(COLLECTION, &schema, filter, order).unwrap();
        let with = found(tables, pair, &query);
        assert_eq!(with, found(&Plain(tables), pair, &query), "{filter:?} {order:?}");
    }
}

fn some_fields(random: &mut SmallRng) -> Json {
    let mut fields = Map::new();
    let names = ["a", "b", "ba", "b\u{e9}", "b\0", "b\0\0a", ""];
    let prices = ["1", "1.0", "2.50", "-3", "100", "99999999999999999999999999999999999999"];
    let times = [
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.5Z",
        "2024-01-01T00:00:00.450+00:00",
        "2024-01-01T02:00:00.5+02:00",
        "0001-01-01T00:00:00.000000001Z",
    ];
    for (name, value) in [
        ("name", json!(names[random.random_range(0..names.len())])),
        ("price", json!(prices[random.random_range(0..prices.len())])),
        ("shelf", json!(random.random_range(0..6))),
        ("at", json!(times[random.random_range(0..times.len())])),
    ] {
        match random.random_range(0..6) {
            0 => {}
            1 => drop(fields.insert(name.to_owned(), Json::Null)),
            _ => drop(fields.insert(name.to_owned(), value)),
        }
    }
    Json::Object(fields)
}

fn some_schema(random: &mut SmallRng) -> Json {
    let mut schema = Map::new();
    for (name, kind) in
        [("name", "string"), ("price", "decimal"), ("shelf", "integer"), ("at", "datetime")]
    {
        let indexed = if random.random_range(0..3) > 0 { " indexed" } else { "" };
        schema.insert(name.to_owned(), json!(format!("{kind}{indexed}")));
    }
    Json::Object(schema)
}

fn step(pair: &mut Pair, random: &mut SmallRng) {
    let office = random.random_range(0..2);
    let id = format!("P-{}", random.random_range(0..30));
    let edit = match random.random_range(0..16) {
        0..7 => Edit::Put(fields(some_fields(random))),
        7..9 => Edit::Merge { patch: fields(some_fields(random)), create: true },
        9 => Edit::Delete,
        10 => Edit::Undelete,
        11 => return if random.random() { pair.down() } else { pair.up() },
        12 => return declare(pair, some_schema(random)),
        13 => return pair.pass(300),
        14 => return pair.restart(office, |store| store),
        _ => return pair.restart(office, MemoryStore::without_tables),
    };
    // A record that is not there cannot be deleted: that is no matter of indexes.
    let _ = pair.transact(office, None, vec![RecordEdit::new(COLLECTION, &id, edit)]);
}

#[test]
fn index_rows_are_what_a_scan_says_whatever_happens() {
    let mut ready = 0;
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut pair = Pair::new();
        declare(&mut pair, some_schema(&mut random));
        for _ in 0..80 {
            step(&mut pair, &mut random);
            ready += check(&pair, 0).0 + check(&pair, 1).0;
        }
        pair.up();
        pair.pass(20_000);
        for office in 0..2 {
            assert_eq!(check(&pair, office).1, 0, "seed {seed}: not all are built");
            check_queries(&pair, office);
            check_verified(&pair, office);
        }
    }
    assert!(ready > 100, "the indexes were ready {ready} times");
}

#[test]
fn an_index_of_many_records_is_built_in_steps_while_they_change() {
    let mut pair = Pair::new();
    let records =
        (0..2_500).map(|n| put(&format!("P-{n:04}"), json!({"shelf": n % 40, "price": "1"})));
    pair.transact(0, None, records.collect()).unwrap();
    declare(&mut pair, json!({"shelf": "integer indexed", "price": "decimal", "name": "string"}));
    assert_eq!(check(&pair, 0), (0, 1));
    let mut steps = 0;
    while check(&pair, 0).1 > 0 {
        for n in [5, 1_005, 2_005] {
            pair.write(0, &format!("P-{n:04}"), json!({"shelf": 100 + steps}));
            let gone = RecordEdit::new(COLLECTION, format!("P-{:04}", n + 1 + steps), Edit::Delete);
            pair.transact(0, None, vec![gone]).unwrap();
            check(&pair, 0);
        }
        pair.pass(100);
        steps += 1;
        assert!(steps < 20, "it is never built");
    }
    assert_eq!(steps, 10, "500 records are looked at, and 500 rows written, at a time");
    assert_eq!(check(&pair, 0), (1, 0));
    let space = pair.space();
    let schema = read::schema(pair.replicas[0].store(), space, COLLECTION).unwrap().unwrap();
    let query = Query::parse(COLLECTION, &schema, Some("shelf = 39"), None).unwrap();
    let bounds = Bounds { records: 1_000, bytes: ENOUGH, scanned: ENOUGH, sorted: ENOUGH };
    let page =
        query::page(pair.replicas[0].store(), space, COLLECTION, &query, None, bounds).unwrap();
    assert_eq!((page.scanned, page.records.len()), (62, 62));

    // What is no longer declared is removed in steps as well, and may be declared again meanwhile.
    declare(&mut pair, json!({"shelf": "integer", "price": "decimal", "name": "string"}));
    pair.pass(100);
    declare(&mut pair, json!({"shelf": "integer indexed", "price": "decimal", "name": "string"}));
    assert_eq!(check(&pair, 0), (0, 1));
    pair.pass(2_000);
    assert_eq!(check(&pair, 0), (1, 0));
    declare(&mut pair, json!({"shelf": "integer", "price": "decimal", "name": "string"}));
    pair.pass(2_000);
    assert_eq!(check(&pair, 0), (0, 0));
    let rows = pair.replicas[0].store().scan(b"i", None, ENOUGH).unwrap();
    assert!(rows.is_empty(), "{} rows are left", rows.len());
}

#[test]
fn a_wrong_row_and_a_missing_one_are_found() {
    let mut pair = Pair::new();
    declare(&mut pair, json!({"shelf": "integer indexed"}));
    pair.write(0, "tea", json!({"shelf": 1}));
    pair.write(0, "rice", json!({"shelf": 2}));
    pair.pass(100);
    check_verified(&pair, 0);
    let (tables, space) = (pair.replicas[0].store(), pair.space());
    let prefix = indexes::entries(space, COLLECTION, "shelf");
    let rows = tables.scan(&prefix, None, ENOUGH).unwrap();
    let (tea, rice) = (rows[0].0.clone(), rows[1].0.clone());
    let mut of_another = rice.clone();
    of_another.truncate(rice.len() - "rice".len());
    of_another.extend_from_slice(b"tea");
    for writes in [
        vec![(tea.clone(), None)],
        vec![(of_another.clone(), Some(Vec::new()))],
        vec![(tea, None), (of_another, Some(Vec::new()))],
    ] {
        let mut store = tables.clone();
        store.apply(writes, None).unwrap();
        let report = verify(&store, &[space]).unwrap();
        assert!(!report.is_sound());
    }
}
