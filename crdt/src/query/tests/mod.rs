//! Queries over records in memory.

mod by_index;
mod datetimes;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::format::codec;
use crate::ids::SpaceId;
use crate::record::{ActorBytes, Document, Edit, Schema, Value, View};
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::tables::records::{Changes, RecordKey, RecordRow};

const SPACE: SpaceId = SpaceId([7; 16]);
const BOUNDS: Bounds = Bounds { records: 100, bytes: 1 << 20, scanned: 1_000, sorted: 1_000 };

fn schema(fields: &[(&str, &str)]) -> Schema {
    let value = |text: &str| Value::Str(text.to_owned());
    let fields = fields.iter().map(|(path, kind)| ((*path).to_owned(), value(kind)));
    Schema::from_fields(&fields.collect::<BTreeMap<_, _>>()).unwrap()
}

fn products() -> Schema {
    schema(&[
        ("name", "string"),
        ("price", "decimal"),
        ("stock", "counter"),
        ("weight", "float"),
        ("since", "timestamp"),
        ("at", "datetime"),
        ("sold", "boolean"),
        ("photo", "bytes"),
        ("tags", "list"),
        ("origin.city", "string"),
    ])
}

fn view(schema: &Schema, fields: Json) -> (Document, View) {
    let Json::Object(fields) = fields else { panic!("{fields} is no object") };
    let mut document = Document::empty();
    document.edit(ActorBytes([1; 16]), 0, &Edit::Put(fields), Some(schema)).unwrap();
    let view = document.view();
    (document, view)
}

/// Records of the collection `products`.
fn store(schema: &Schema, records: impl IntoIterator<Item = (String, Json)>) -> MemoryStore {
    let mut store = MemoryStore::new();
    let rows = records.into_iter().map(|(id, fields)| {
        let live = view(schema, fields).0.save();
        let key = RecordKey { space: SPACE, collection: "products".to_owned(), id };
        let row = RecordRow { changes: Changes::default(), live: &live, first: None };
        (key.record(), Some(codec::encode(&row)))
    });
    store.apply(rows.collect(), None).unwrap();
    store
}

#[test]
fn filters_mean_what_they_say() {
    let fields = json!({
        "name": "Green tea", "price": "2.50", "stock": 7, "weight": 0.1, "sold": true,
        "since": "2026-01-31T09:30:00Z", "photo": "AQID", "tags": ["a"],
        "at": "2026-01-31T10:30:00.05+01:00",
        "origin": {"city": "O'Hara \"x\""}, "unit price": 3, "note": "10", "gone": null,
    });
    let schema = products();
    let (_, view) = view(&schema, fields);
    for (filter, expected) in [
        ("name = 'Green tea'", true),
        ("name = \"Green tea\" AND NOT name = 'tea'", true),
        ("name starts with 'Green'", true),
        ("name starts with 'tea' or name starts with ''", true),
        ("name < 'Green teb' and name >= 'Green'", true),
        ("price = 2.5", true),
        ("price != 2.50", false),
        ("price > 2.49 and price < 10", true),
        ("price in (1, 2.500, 3)", true),
        ("stock = 7 and stock <= 7 and stock > -1", true),
        ("weight = 0.1", true),
        ("sold = true and not sold != true", true),
        ("since = '2026-01-31T10:30:00+01:00'", true),
        ("since < '2026-02-01T00:00:00Z'", true),
        ("at = '2026-01-31T09:30:00.050Z' and at = '2026-01-31T10:30:00.05+01:00'", true),
        ("at > '2026-01-31T09:30:00Z' and at < '2026-01-31T09:30:00.5Z'", true),
        ("at in ('2026-01-31T09:30:00.05Z', null) and at is not null", true),
        // Without a zone it is another time, the next one.
        ("at = '2026-01-31T09:30:00.05'", false),
        ("at < '2026-01-31T09:30:00.05'", true),
        ("at > '2026-01-31T09:30:00.049999999'", true),
        ("photo = 'AQID'", true),
        ("tags is null", false),
        ("tags is not null", true),
        ("origin.city = 'O''Hara \"x\"'", true),
        ("origin.city = \"O'Hara \"\"x\"\"\"", true),
        ("origin.`city` starts with 'O'", true),
        ("origin.street is null", true),
        ("name.x is null", true),
        ("`unit price` = 3", true),
        // Nothing is declared of these.
        ("note = '10'", true),
        ("note = 10", false),
        ("note != 10", true),
        ("note > 9", false),
        ("gone is null and gone = null and missing in (1, null)", true),
        ("missing < 5", false),
        ("not missing < 5", true),
        ("missing != 5", true),
        // `and` binds more tightly than `or`, and `not` more tightly than both.
        ("stock = 7 or stock = 8 and stock = 9", true),
        ("(stock = 7 or stock = 8) and stock = 9", false),
        ("not stock = 8 and stock = 9", false),
        ("not (stock = 8 and stock = 9)", true),
        ("not not stock = 7", true),
    ] {
        let found = Filter::parse(filter, &schema).unwrap_or_else(|e| panic!("{filter}: {e}"));
        assert_eq!(found.matches(&view.fields), expected, "{filter}");
    }
}

#[test]
fn a_value_of_another_kind_than_declared_is_no_match_and_no_error() {
    let (_, view) = view(&Schema::default(), json!({"price": {"net": 1}, "name": 5, "stock": "7"}));
    let schema = products();
    for filter in ["price < 100", "name = '5'", "name starts with '5'", "stock = 7"] {
        assert!(!Filter::parse(filter, &schema).unwrap().matches(&view.fields), "{filter}");
    }
}

#[test]
fn what_does_not_parse_or_type_is_told_with_its_place() {
    let schema = products();
    for (filter, place) in [
        ("", ""),
        ("price", ""),
        ("price = ", ""),
        ("price == 2", "= 2"),
        ("price = 2 and", ""),
        ("price = 2 sold = true", "sold = true"),
        ("(price = 2", ""),
        ("price = 2)", ")"),
        ("price in 2", "2"),
        ("price in ()", ")"),
        ("price in (2 3)", "3)"),
        ("name starts 'a'", "'a'"),
        ("name starts with 5", "5"),
        ("name is 5", "5"),
        ("name = 'tea", "'tea"),
        ("name = tea", "tea"),
        ("`name = 1", "`name = 1"),
        ("and = 1", "and = 1"),
        ("price = 2;", ";"),
        ("price = 1.", ""),
        ("price = 1.x", "x"),
        ("price = 12a", "a"),
        (
            "price = 123456789012345678901234567890123456789",
            "123456789012345678901234567890123456789",
        ),
        ("_deleted = true", "_deleted = true"),
        ("a..b = 1", ".b = 1"),
        // Typed by the schema.
        ("stock > 1 and price = 'cheap'", "'cheap'"),
        ("price = '2.50'", "'2.50'"),
        ("stock = 7.5", "7.5"),
        ("stock in (1, 'x')", "'x')"),
        ("name = 5", "5"),
        ("sold = 'yes'", "'yes'"),
        ("sold > false", "false"),
        ("price > null", "null"),
        ("since > '2026'", "'2026'"),
        ("at > '2026-01-31'", "'2026-01-31'"),
        ("at > '2026-01-31T24:00:00Z'", "'2026-01-31T24:00:00Z'"),
        ("at = 1769851800000", "1769851800000"),
        ("at starts with '2026'", "starts with '2026'"),
        ("photo = '!'", "'!'"),
        ("tags = 'a'", "'a'"),
        ("origin = 'a'", "'a'"),
        ("stock starts with '7'", "starts with '7'"),
    ] {
        let error = Filter::parse(filter, &schema).unwrap_err();
        assert_eq!(&filter[error.offset..], place, "{filter}: {error}");
        assert_eq!(error.part, QueryPart::Where);
    }
}

#[test]
fn filters_are_bounded() {
    let schema = Schema::default();
    let fault = |text: &str| Filter::parse(text, &schema).unwrap_err().fault;
    let long = format!("a = '{}'", "x".repeat(TEXT_BYTES_MAX));
    assert!(matches!(fault(&long), QueryFault::TooLong { .. }));
    let deep = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&deep(NESTING_MAX), &schema).is_ok());
    assert_eq!(fault(&deep(NESTING_MAX + 1)), QueryFault::TooDeep);
    assert_eq!(fault(&deep(4_000)), QueryFault::TooDeep);
    assert_eq!(fault(&format!("{}a = 1", "not ".repeat(1_000))), QueryFault::TooDeep);
    let many = |count: usize| format!("a in ({})", vec!["1"; count].join(","));
    assert!(Filter::parse(&many(ITEMS_MAX - 1), &schema).is_ok());
    assert_eq!(fault(&many(ITEMS_MAX)), QueryFault::TooManyItems);
    let order = vec!["a"; FIELDS_MAX + 1].join(",");
    assert_eq!(Order::parse(&order, &schema).unwrap_err().fault, QueryFault::TooManyFields);
}

fn ids(page: &Page) -> Vec<&str> {
    page.records.iter().map(|(id, _)| id.as_str()).collect()
}

/// Everything that a query gives, page by page.
fn all(store: &MemoryStore, query: &Query, bounds: Bounds) -> Vec<String> {
    let mut found = Vec::new();
    let mut after: Option<QueryCursor> = None;
    loop {
        let page = page(store, SPACE, "products", query, after.as_ref(), bounds).unwrap();
        assert!(page.records.len() <= bounds.records);
        found.extend(page.records.into_iter().map(|(id, _)| id));
        match page.next {
            Some(next) => after = Some(query.cursor(&next.to_text()).unwrap()),
            None => return found,
        }
    }
}

#[test]
fn a_page_ends_where_it_has_looked_at_enough_and_the_next_goes_on_there() {
    let schema = products();
    let records = (0..50).map(|n| (format!("P-{n:02}"), json!({"stock": n % 10})));
    let store = store(&schema, records);
    let query = Query::parse("products", &schema, Some("stock = 9"), None).unwrap();
    let bounds = Bounds { scanned: 20, ..BOUNDS };
    let first = page(&store, SPACE, "products", &query, None, bounds).unwrap();
    assert_eq!(ids(&first), ["P-09", "P-19"]);
    assert_eq!((first.scanned, first.truncated), (20, true));
    assert_eq!(all(&store, &query, bounds), ["P-09", "P-19", "P-29", "P-39", "P-49"]);
    let two = Bounds { records: 2, ..BOUNDS };
    let first = page(&store, SPACE, "products", &query, None, two).unwrap();
    assert!(!first.truncated && first.next.is_some());
    assert_eq!(all(&store, &query, two).len(), 5);
    let few_bytes = Bounds { bytes: 1, ..BOUNDS };
    assert_eq!(page(&store, SPACE, "products", &query, None, few_bytes).unwrap().records.len(), 1);
    assert_eq!(all(&store, &query, few_bytes).len(), 5);
}

#[test]
fn a_list_is_ordered_by_its_fields_and_then_by_id() {
    let schema = products();
    let records = [
        ("a", json!({"name": "Tea", "price": "10", "stock": 1})),
        ("b", json!({"name": "Rice", "price": "9.5", "stock": 1})),
        ("c", json!({"name": "Salt", "price": "-1", "stock": 2})),
        ("d", json!({"name": "Oil", "stock": 2})),
        ("e", json!({"name": "Soap", "price": "9.50", "stock": 3})),
    ];
    let store = store(&schema, records.map(|(id, fields)| (id.to_owned(), fields)));
    for (order, expected) in [
        ("price", "dcbea"),
        ("-price", "abecd"),
        ("stock,-price", "abcde"),
        ("-stock, name", "edcba"),
        ("name", "dbcea"),
        ("missing.x, name", "unknown"),
    ] {
        let query = Query::parse("products", &schema, None, Some(order)).unwrap();
        if expected == "unknown" {
            let found = page(&store, SPACE, "products", &query, None, BOUNDS);
            let Err(PageError::Query(error)) = found else { panic!("{found:?}") };
            assert_eq!((error.part, error.offset), (QueryPart::Order, 0));
            continue;
        }
        for records in [1, 2, 3, 100] {
            let bounds = Bounds { records, ..BOUNDS };
            assert_eq!(all(&store, &query, bounds).concat(), expected, "{order} by {records}");
        }
        let bounds = Bounds { bytes: 1, ..BOUNDS };
        assert_eq!(all(&store, &query, bounds).concat(), expected, "{order}");
        let bounds = Bounds { sorted: 4, ..BOUNDS };
        let found = page(&store, SPACE, "products", &query, None, bounds);
        assert!(matches!(found, Err(PageError::TooMany { max: 4 })), "{found:?}");
    }
    for (order, place) in [("tags", "tags"), ("name,", ""), ("name,,price", ",price"), ("- 5", "5")]
    {
        let error = Order::parse(order, &schema).unwrap_err();
        assert_eq!(&order[error.offset..], place, "{order}: {error}");
    }
}

#[test]
fn a_cursor_serves_its_own_query_alone() {
    let schema = products();
    let query = |filter, order| Query::parse("products", &schema, filter, order).unwrap();
    let one = query(Some("stock = 1"), Some("name"));
    let text = one.place(vec![1, 2], "a".to_owned()).to_text();
    assert!(one.cursor(&text).is_ok());
    for other in [
        query(Some("stock = 2"), Some("name")),
        query(Some("stock = 1"), Some("-name")),
        query(Some("stock = 1"), None),
        query(None, Some("name")),
        Query::parse("sales", &schema, Some("stock = 1"), Some("name")).unwrap(),
        Query::parse("products", &Schema::default(), Some("stock = 1"), Some("name")).unwrap(),
    ] {
        assert_eq!(other.cursor(&text), Err(WrongCursor::OfAnotherQuery));
    }
    for text in ["", "a", "!!!", "P-01", &text[1..]] {
        assert!(one.cursor(text).is_err(), "{text}");
    }
}

#[test]
fn fields_that_no_schema_declares_and_no_record_has_are_told() {
    let schema = products();
    let records = (0..20).map(|n| {
        let fields = if n == 7 { json!({"stock": n, "shelf": 1}) } else { json!({"stock": n}) };
        (format!("P-{n:02}"), fields)
    });
    let (store, empty) = (store(&schema, records), MemoryStore::new());
    let unknown = |store: &MemoryStore, filter: &str, order: Option<&str>, bounds: Bounds| {
        let query = Query::parse("products", &schema, Some(filter), order).unwrap();
        page(store, SPACE, "products", &query, None, bounds).unwrap().unknown_fields
    };
    let filter = "shelv = 2 or shelf = 2 or name = 'x' or shelv = 3 or origin.town = 'y'";
    assert_eq!(unknown(&store, filter, None, BOUNDS), ["origin.town", "shelv"]);
    assert_eq!(unknown(&store, filter, Some("stock"), BOUNDS), ["origin.town", "shelv"]);
    assert!(unknown(&store, "shelf = 1", None, BOUNDS).is_empty());
    assert!(unknown(&empty, filter, None, BOUNDS).is_empty(), "nothing was looked at");
    let first = Bounds { scanned: 5, ..BOUNDS };
    assert_eq!(unknown(&store, "shelf = 2", None, first), ["shelf"], "as far as it has looked");

    let asked = |filter, by, sum| SummaryText { filter, by, measures: [sum, None, None, None] };
    let summary = |asked| summed(&store, &schema, asked).unknown_fields;
    let mistyped = asked(Some("shelv = 1"), Some("nme"), Some("stok"));
    assert_eq!(summary(mistyped), ["nme", "shelv", "stok"]);
    assert!(summary(asked(Some("shelf = 2"), Some("name"), Some("stock"))).is_empty());
}

#[test]
fn values_that_no_comparison_can_find_are_counted_by_field_and_kind() {
    let schema = products();
    let records = (0..20).map(|n| {
        let total = if n < 15 { json!(n.to_string()) } else { json!(n) };
        (format!("P-{n:02}"), json!({"total": total, "stock": n, "note": null}))
    });
    let store = store(&schema, records);
    let unlike = |filter: &str, order: Option<&str>| {
        let query = Query::parse("products", &schema, Some(filter), order).unwrap();
        let found = page(&store, SPACE, "products", &query, None, BOUNDS).unwrap();
        let unlike = found.unlike.into_iter();
        let words = |found: Unlike| (found.field, found.kind, found.compared_with, found.records);
        (found.records.len(), unlike.map(words).collect::<Vec<_>>())
    };
    let text = |records| vec![("total".to_owned(), "string", "number", records)];
    assert_eq!(unlike("total > 16", None), (3, text(15)));
    assert_eq!(unlike("total > 16 and total < 18", Some("stock")), (1, text(15)));
    // One that is found otherwise is not missed, nor one that could be compared, nor null.
    assert_eq!(unlike("total in (16, '3') or stock < 10", None).1, []);
    assert_eq!(unlike("total > 16 or stock < 10", None), (13, text(5)));
    assert_eq!(unlike("total is null or note > 5", None).1, []);
    let number = vec![("total".to_owned(), "integer", "text", 5)];
    assert_eq!(unlike("total starts with '9'", None), (1, number));
    let asked = SummaryText { filter: Some("total > 16"), ..SummaryText::default() };
    assert_eq!(summed(&store, &schema, asked).unlike[0].records, 15);
}

fn summed(store: &MemoryStore, schema: &Schema, asked: SummaryText<'_>) -> Summary {
    let query = SummaryQuery::parse(schema, asked).unwrap();
    summary(store, SPACE, "products", &query, BOUNDS).unwrap()
}

#[test]
fn sums_are_exact_beyond_38_digits() {
    let schema = products();
    let nines = "9".repeat(38);
    let tiny = format!("0.{}1", "0".repeat(36));
    let records = [
        ("a", json!({"name": "x", "price": nines, "stock": i64::pow(2, 53), "weight": 0.5})),
        ("b", json!({"name": "y", "price": tiny, "stock": 1, "weight": 0.25})),
        ("c", json!({"name": "x", "price": nines, "stock": 2})),
        ("d", json!({"name": "x"})),
    ];
    let store = store(&schema, records.map(|(id, fields)| (id.to_owned(), fields)));
    let measures = [Some("price, stock, weight"), Some("stock"), Some("price,name"), Some("stock")];
    let asked = SummaryText { measures, ..SummaryText::default() };
    let Summary { groups, scanned, .. } = summed(&store, &schema, asked);
    assert_eq!((groups.len(), scanned, groups[0].count), (1, 4, 4));
    let values: Vec<_> = groups[0].measures.iter().map(|m| m.value.to_json()).collect();
    let price = format!("1{}8.{}1", "9".repeat(37), "0".repeat(36));
    let average = "3002399751580331.666667";
    let stock = i64::pow(2, 53) + 3;
    assert_eq!(
        values,
        [
            json!(price),
            json!(stock),
            json!(0.75),
            json!(average),
            json!(tiny),
            json!("x"),
            json!(i64::pow(2, 53))
        ]
    );

    let asked = SummaryText {
        by: Some("name"),
        filter: Some("stock is not null"),
        measures: [Some("stock"), None, None, None],
    };
    let Summary { groups, .. } = summed(&store, &schema, asked);
    let found: Vec<_> = groups
        .iter()
        .map(|group| (group.by[0].to_json(), group.count, group.measures[0].value.to_json()))
        .collect();
    assert_eq!(found, [(json!("x"), 2, json!(i64::pow(2, 53) + 2)), (json!("y"), 1, json!(1))]);
}

#[test]
fn what_cannot_be_summed_up_is_left_out_and_counted() {
    let schema = Schema::default();
    let records = [("a", json!({"n": 1})), ("b", json!({"n": "2"})), ("c", json!({"n": null}))];
    let store = store(&schema, records.map(|(id, fields)| (id.to_owned(), fields)));
    let asked = SummaryText { measures: [Some("n,m"), None, None, None], ..SummaryText::default() };
    let Summary { groups, .. } = summed(&store, &schema, asked);
    let [n, m] = groups[0].measures.as_slice() else { panic!("{groups:?}") };
    assert_eq!((&n.value, n.skipped), (&Value::Int(1), 1));
    assert_eq!((&m.value, m.skipped), (&Value::Null, 0));
}

#[test]
fn summaries_are_typed_and_bounded() {
    let schema = products();
    let parse = |asked| SummaryQuery::parse(&schema, asked).unwrap_err();
    let error = parse(SummaryText {
        measures: [Some("stock,name"), None, None, None],
        ..SummaryText::default()
    });
    assert_eq!((error.part, error.offset), (QueryPart::Sum, 6));
    let error =
        parse(SummaryText { measures: [None, None, Some("tags"), None], ..SummaryText::default() });
    assert_eq!((error.part, error.offset), (QueryPart::Min, 0));
    let error = parse(SummaryText { by: Some("name,"), ..SummaryText::default() });
    assert_eq!((error.part, error.offset), (QueryPart::By, 5));

    let records = (0..=GROUPS_MAX).map(|n| (format!("{n:05}"), json!({"n": n})));
    let store = store(&Schema::default(), records);
    let query = SummaryText { by: Some("n"), ..SummaryText::default() };
    let query = SummaryQuery::parse(&Schema::default(), query).unwrap();
    let bounds = Bounds { sorted: usize::MAX, ..BOUNDS };
    let found = summary(&store, SPACE, "products", &query, bounds);
    assert!(matches!(found, Err(SummaryError::TooManyGroups { .. })), "{found:?}");
    let found = summary(&store, SPACE, "products", &SummaryQuery::default(), BOUNDS);
    assert!(matches!(found, Err(SummaryError::TooMany { max: 1_000 })), "{found:?}");
}

proptest! {
    /// Whatever the text is, it is a filter or an error at a place in it.
    #[test]
    fn any_text_is_answered(text in "[a-c=<>!'\"`.,() 0-9é-]{0,40}|\\PC{0,40}") {
        for schema in [Schema::default(), products()] {
            if let Err(error) = Filter::parse(&text, &schema) {
                prop_assert!(text.is_char_boundary(error.offset), "{error}");
            }
            if let Err(error) = Order::parse(&text, &schema) {
                prop_assert!(text.is_char_boundary(error.offset), "{error}");
            }
        }
    }
}
