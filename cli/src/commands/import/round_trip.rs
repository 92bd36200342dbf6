//! What `export` writes, `import` reads back exactly: for any record, through the code of both.

use std::collections::BTreeMap;

use branchline_crdt::record::{ActorBytes, Document, Edit, Kind, Schema, Value as Stored, View};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::kinds::infer::kinds_of_schema;
use super::kinds::plan::{Held, Known, Plan};
use super::{ReadArgs, ReadRow, Source};
use crate::commands::records::cells::{CellWriter, ID_COLUMN};

const SCHEMA: [(&str, &str); 16] = [
    ("string", "string"),
    ("integer", "integer"),
    ("float", "float"),
    ("boolean", "boolean"),
    ("timestamp", "timestamp"),
    ("bytes", "bytes"),
    ("decimal", "decimal"),
    ("datetime", "datetime"),
    ("counter", "counter"),
    ("text", "text"),
    ("list", "list"),
    ("map", "map"),
    ("=name; \"x\"", "string"),
    ("'marked", "string"),
    ("null", "string"),
    ("two  words, ", "string"),
];

/// Texts that files have trouble with.
const ODD: [&str; 40] = [
    "",
    "null",
    "'",
    "'null",
    "''x",
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "a\"b",
    "\"",
    "\"\"",
    ",",
    ";",
    "|",
    " ",
    " x ",
    "TRUE",
    "yes",
    "1,5",
    "1.234",
    "1.234,50",
    "007",
    "12",
    "2.50",
    "\u{feff}",
    "\u{fffd}",
    "\u{ff1d}1",
    "[1]",
    "{}",
    "2026-01-31T09:30:00Z",
    "\\",
    "\\\"",
    "a\rb",
    "\u{1a}",
    "é",
];

fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(&ODD[..]).prop_map(str::to_owned);
    prop_oneof![3 => odd, 1 => "[ -~\t\r\n\u{80}-\u{10ffff}]{0,8}"]
}

fn free() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |n| n.is_finite()).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn of_kind(kind: Kind) -> BoxedStrategy<Value> {
    let value = match kind {
        Kind::String | Kind::Text => text().prop_map(Value::from).boxed(),
        Kind::Integer => any::<i64>().prop_map(Value::from).boxed(),
        Kind::Float => {
            any::<f64>().prop_filter("no NaN", |n| n.is_finite()).prop_map(Value::from).boxed()
        }
        Kind::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Timestamp => prop_oneof![-62_135_596_800_000_i64..253_402_207_200_000, any::<i64>()]
            .prop_map(Value::from)
            .boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..6)
            .prop_map(|bytes| Stored::Bytes(bytes).into_json())
            .boxed(),
        Kind::Decimal => "-?[0-9]{1,19}(\\.[0-9]{1,19})?".prop_map(Value::from).boxed(),
        Kind::Datetime => {
            "[0-9]{4}-0[1-9]-[0-2][1-8][T ][01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]0[0-9]:30)?"
                .prop_filter("no year 0", |text| !text.starts_with("0000") && !text.starts_with("9999"))
                .prop_map(Value::from)
                .boxed()
        }
        Kind::Counter => (-(1_i64 << 53)..1 << 53).prop_map(Value::from).boxed(),
        Kind::List => prop::collection::vec(free(), 0..3).prop_map(Value::from).boxed(),
        Kind::Map => prop::collection::btree_map("[a-c]", free(), 0..3)
            .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into())
            .boxed(),
    };
    if kind.is_register() { prop_oneof![4 => value, 1 => Just(Value::Null)].boxed() } else { value }
}

fn declared() -> impl Strategy<Value = Map<String, Value>> {
    let fields: Vec<_> = SCHEMA
        .into_iter()
        .map(|(name, kind)| {
            let value = prop::option::of(of_kind(kind.parse().unwrap()));
            value.prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        })
        .collect();
    fields.prop_map(|fields| fields.into_iter().flatten().collect())
}

fn undeclared() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop::sample::select(&["a", "b", "c"][..]).prop_map(str::to_owned);
    prop::collection::btree_map(name, free(), 0..4).prop_map(|fields| fields.into_iter().collect())
}

/// Records by id, as a site holds them.
type Records = BTreeMap<String, Document>;

fn records(fields: Vec<(String, Map<String, Value>)>, schema: Option<&Schema>) -> Records {
    let record = |(id, fields)| {
        let mut document = Document::empty();
        document.edit(ActorBytes([1; 16]), 0, &Edit::Put(fields), schema).unwrap();
        (id, document)
    };
    fields.into_iter().map(record).collect()
}

fn fields(view: View) -> Map<String, Value> {
    view.fields.into_iter().map(|(name, value)| (name, value.into_json())).collect()
}

fn csv(records: &Records, is_safe: bool) -> String {
    let shown: Vec<_> = records.iter().map(|(id, record)| (id, fields(record.view()))).collect();
    let columns: std::collections::BTreeSet<_> =
        shown.iter().flat_map(|(_, fields)| fields.keys()).collect();
    let mut cells = CellWriter::new(is_safe);
    cells.name(ID_COLUMN);
    columns.iter().for_each(|name| cells.name(name));
    let mut file = cells.end_row();
    for (id, fields) in &shown {
        cells.name(id);
        columns.iter().for_each(|name| cells.value(fields.get(*name)));
        file.push_str(&cells.end_row());
    }
    file
}

fn lines(records: &Records) -> String {
    let line = |(id, record): (&String, &Document)| {
        let mut object = Map::from_iter([(ID_COLUMN.to_owned(), Value::from(id.as_str()))]);
        object.extend(fields(record.view()));
        format!("{}\n", Value::Object(object))
    };
    records.iter().map(line).collect()
}

/// What the records hold, as a node counts it.
fn held(records: &Records) -> Held {
    let mut held = Held::new();
    for (name, value) in records.values().flat_map(|record| record.view().fields) {
        let kind = match &value {
            Stored::Str(text) if branchline_crdt::record::is_plain_decimal(text) => "decimal",
            other => other.kind_name(),
        };
        *held.entry(name).or_default().entry(kind.to_owned()).or_insert(0) += 1;
    }
    held
}

fn read(name: &str, text: &str, known: &Known) -> Vec<ReadRow> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let (input, survey) = super::open(&path, &ReadArgs::default(), ID_COLUMN)
        .map_err(|error| error.message())
        .unwrap();
    let plan = Plan::new(&survey.inferred, survey.is_json(), &[], known)
        .map_err(|error| error.message())
        .unwrap();
    let mut source =
        Source::open(&input, &survey, &plan.kinds).map_err(|error| error.message()).unwrap();
    let rows = std::iter::from_fn(|| source.next().map_err(|error| error.message()).unwrap());
    rows.map(|row| row.record).collect()
}

/// Imports what was read over the records, which changes nothing, and into nothing, which gives the same.
fn check(
    records: &Records,
    rows: Vec<ReadRow>,
    schema: Option<&Schema>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(rows.len(), records.len());
    for row in rows {
        let (id, read) = row.map_err(TestCaseError::fail)?;
        let record =
            records.get(&id).ok_or_else(|| TestCaseError::fail(format!("no record {id:?}")))?;
        let actor = ActorBytes([2; 16]);
        let import = Edit::Import(read);
        let edited = record.clone().edit(actor, 0, &import, schema);
        prop_assert!(
            matches!(edited, Ok(None)),
            "{:?} of {:?}: {:?}",
            import,
            record.view(),
            edited
        );
        let mut fresh = Document::empty();
        fresh
            .edit(actor, 0, &import, schema)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        if schema.is_some() {
            prop_assert_eq!(fresh.view().fields, record.view().fields);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn records_of_a_schema_come_back_from_csv_and_json_as_they_were(
        fields in prop::collection::vec(("[ -~\u{a1}-\u{2ff}]{1,6}", declared()), 1..5),
        is_safe in any::<bool>(),
    ) {
        let schema: Map<String, Value> = SCHEMA.into_iter().map(|(name, kind)| (name.to_owned(), json!(kind))).collect();
        let known = Known { declared: Some(kinds_of_schema(&schema)), held: Held::new(), has_records: true };
        let stored = schema.into_iter().map(|(name, kind)| (name, Stored::Str(kind.as_str().unwrap().to_owned())));
        let schema = Schema::from_fields(&stored.collect()).unwrap();
        let records = records(fields, Some(&schema));
        check(&records, read("a.csv", &csv(&records, is_safe), &known), Some(&schema))?;
        check(&records, read("a.jsonl", &lines(&records), &known), Some(&schema))?;
    }

    #[test]
    fn records_without_a_schema_come_back_from_json_as_they_were(
        fields in prop::collection::vec(("[a-z=' ]{1,4}", undeclared()), 1..5),
    ) {
        let records = records(fields, None);
        let known = Known { declared: None, held: held(&records), has_records: true };
        check(&records, read("a.jsonl", &lines(&records), &known), None)?;
    }
}
