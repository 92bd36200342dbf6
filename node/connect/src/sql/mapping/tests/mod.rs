//! Tables as offices have them, and what a bridge makes of them.

#![allow(clippy::unwrap_used)]

mod refusals;

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::sql::cell::{Cell, Key};
use crate::sql::config::TableConfig;
use crate::sql::shape::{Charset, ColumnShape, ColumnType, TableName, TableShape};
use crate::sql::value::Fields;

fn column(name: &str, declared: &str, kind: ColumnType) -> ColumnShape {
    ColumnShape {
        name: name.to_owned(),
        declared: declared.to_owned(),
        kind,
        is_nullable: true,
        has_default: false,
        is_generated: false,
        is_numbered: false,
        is_identity_always: false,
        key_trap: None,
    }
}

fn integer(name: &str) -> ColumnShape {
    column(name, "bigint", ColumnType::Integer { min: i64::MIN.into(), max: i64::MAX.into() })
}

fn text(name: &str) -> ColumnShape {
    let kind =
        ColumnType::Text { chars_max: Some(20), charset: Charset::Unicode, is_padded: false };
    column(name, "varchar(20)", kind)
}

fn time(name: &str, digits: u8, has_zone: bool) -> ColumnShape {
    column(name, "datetime", ColumnType::DateTime { digits, has_zone })
}

fn price(name: &str) -> ColumnShape {
    column(name, "numeric(12,2)", ColumnType::Decimal { digits: Some((12, 2)) })
}

fn not_null(column: ColumnShape) -> ColumnShape {
    ColumnShape { is_nullable: false, ..column }
}

fn numbered(column: ColumnShape) -> ColumnShape {
    ColumnShape { is_numbered: true, ..not_null(column) }
}

fn table(name: &str, key: &[&str], columns: Vec<ColumnShape>) -> TableShape {
    TableShape {
        name: TableName { schema: None, name: name.to_owned() },
        columns,
        primary_key: key.iter().map(|name| (*name).to_owned()).collect(),
        unique: Vec::new(),
        foreign_keys: Vec::new(),
        triggers: Vec::new(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A branch's table, as GORM's AutoMigrate makes it.
fn products(engine: Engine) -> TableShape {
    let digits = if engine == Engine::MariaDb { 3 } else { 9 };
    let time = |name| time(name, digits, false);
    let columns = vec![
        numbered(integer("id")),
        text("product"),
        not_null(integer("qty")),
        price("cost"),
        time("created_at"),
        time("deleted_at"),
        time("sent_at"),
    ];
    table("products", &["id"], columns)
}

fn stock() -> TableShape {
    table("stock", &["sku"], vec![not_null(text("sku")), price("price"), not_null(integer("qty"))])
}

fn config(text: &str) -> TableConfig {
    toml::from_str(text).unwrap()
}

const BRANCH: &str = r#"
    table = "products"
    collection = "products"
    mode = "capture"
    record_id = "{site}-{id}"
    deleted = "deleted_at"
    sent = "sent_at"
    [fields]
    cost = "unit_cost"
    office = { constant = "{site}" }
"#;

const SHARED: &str = r#"
    table = "stock"
    collection = "stock"
    mode = "both"
    record_id = "{sku}"
    owner = "head"
    [fields]
    qty = { kind = "counter" }
"#;

fn mapped(text: &str, shape: &TableShape, engine: Engine) -> Mapping {
    let mapped = map(&config(text), shape, engine, "north", 1);
    mapped.into_result().unwrap_or_else(|refusals| panic!("{refusals:?}"))
}

fn key(values: &[&str]) -> Key {
    Key(values.iter().map(|value| (*value).to_owned()).collect())
}

fn fields(fields: &[(&str, Value)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn string(text: &str) -> Value {
    Value::Str(text.to_owned())
}

#[test]
fn a_branch_s_row_becomes_a_record_that_names_the_branch() {
    let mapping = mapped(BRANCH, &products(Engine::MariaDb), Engine::MariaDb);
    let names: Vec<&str> = mapping.bound.columns.iter().map(|column| &column.name[..]).collect();
    assert_eq!(names, ["id", "product", "qty", "cost", "created_at", "deleted_at"]);
    let row = ["7", "Tea", "3", "1.10", "2024-03-10 00:30:00.120"].map(Cell::text);
    let row: Vec<Cell> = row.into_iter().chain([Cell::Null]).collect();
    assert_eq!(mapping.key_of(&row), Ok(key(&["7"])));
    assert_eq!(mapping.record_id(&key(&["7"])).unwrap(), "north-7");
    let expected = json!({
        "id": 7, "product": "Tea", "qty": 3, "unit_cost": "1.10", "created_at": "2024-03-10T00:30:00.12", "office": "north",
    });
    let found = mapping.fields_of(&row).unwrap();
    assert_eq!(
        (serde_json::Value::Object(found.fields), found.counters),
        (expected, BTreeMap::new())
    );
    let kinds = json!({"products": {
        "id": "integer", "product": "string", "qty": "integer", "unit_cost": "decimal", "created_at": "datetime",
        "office": "string",
    }});
    assert_eq!(mapping.schema(), kinds);
    assert_eq!(mapping.address("north-7"), Ok(Address::Row(key(&["7"]))));
    assert_eq!(mapping.address("south-7"), Ok(Address::Foreign { site: "south".to_owned() }));
    for wrong in ["7", "north-x", "north-07", "north-0"] {
        assert!(mapping.address(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn head_office_puts_the_branch_into_its_key() {
    let columns = vec![
        not_null(text("office")),
        not_null(integer("id")),
        price("unit_cost"),
        time("created_at", 6, true),
    ];
    let shape = table("products", &["office", "id"], columns);
    let head = r#"
        table = "products"
        collection = "products"
        mode = "apply"
        key = ["office", "id"]
        record_id = "{office}-{id}"
    "#;
    let mapping = mapped(head, &shape, Engine::Postgres);
    let Address::Row(found) = mapping.address("north-east-7").unwrap() else { panic!() };
    assert_eq!(found, key(&["north-east", "7"]));
    let record = fields(&[
        ("id", Value::Int(7)),
        ("office", string("north-east")),
        ("unit_cost", string("1.1")),
        ("created_at", string("2024-03-10T00:30:00.12Z")),
        ("note", string("no column")),
    ]);
    let insert = mapping.insert(&found, &record).unwrap();
    let cells =
        ["north-east", "7", "1.10", "2024-03-10 00:30:00.12+00"].map(|text| Some(Cell::text(text)));
    assert_eq!(insert.row, cells);
    // What the record says of its key must be what its id says.
    let wrong = fields(&[("id", Value::Int(8))]);
    let misfits = mapping.insert(&found, &wrong).unwrap_err();
    assert!(misfits[0].to_string().contains("as the record's id says"), "{}", misfits[0]);
    // A field that the record does not have leaves the column to its default.
    assert_eq!(mapping.insert(&found, &fields(&[])).unwrap().row[2..], [None, None]);
    // What does not fit is said of all columns at once.
    let wrong =
        fields(&[("unit_cost", string("1.005")), ("created_at", string("2024-03-10T00:30:00"))]);
    assert_eq!(mapping.insert(&found, &wrong).unwrap_err().len(), 2);
}

#[test]
fn a_counter_crosses_as_a_difference_both_ways() {
    let mapping = mapped(SHARED, &stock(), Engine::Postgres);
    assert!(!mapping.is_owner);
    let row = |price: &str, qty: &str| vec![Cell::text("tea"), Cell::text(price), Cell::text(qty)];
    let found = mapping.fields_of(&row("1.10", "10")).unwrap();
    assert_eq!(found.counters, BTreeMap::from([("qty".to_owned(), 10)]));
    let difference = mapping.difference(&row("1.10", "10"), &row("1.20", "7")).unwrap();
    assert_eq!(difference.add, BTreeMap::from([("qty".to_owned(), -3)]));
    assert_eq!(serde_json::Value::Object(difference.set), json!({"price": "1.20"}));
    assert!(mapping.difference(&row("1.10", "7"), &row("1.10", "7")).unwrap().is_empty());
    let update = |price: &str, qty: i64| {
        let record = fields(&[("price", string(price)), ("qty", Value::Counter(qty))]);
        mapping.update(&key(&["tea"]), &record, &row("1.10", "10")).unwrap()
    };
    // 1.1 is what a column of two digits shows as 1.10.
    assert_eq!((update("1.1", 10).set.len(), update("1.1", 10).add.len()), (0, 0));
    assert_eq!(update("1.30", 7).set, [(1, Cell::text("1.30"))]);
    assert_eq!(update("1.30", 7).add, [(2, -3)]);
    let far = mapping
        .difference(&row("1.10", "-9223372036854775808"), &row("1.10", "9223372036854775807"));
    assert!(far.is_err());
}

#[test]
fn a_field_that_a_record_does_not_have_leaves_its_column_alone() {
    let mapping = mapped(SHARED, &stock(), Engine::Postgres);
    let view = vec![Cell::text("tea"), Cell::text("1.10"), Cell::text("10")];
    let nothing = mapping.update(&key(&["tea"]), &fields(&[]), &view).unwrap();
    assert!(nothing.set.is_empty() && nothing.add.is_empty());
    let null = mapping.update(&key(&["tea"]), &fields(&[("price", Value::Null)]), &view).unwrap();
    assert_eq!(null.set, [(1, Cell::Null)]);
    assert!(
        mapping.insert(&key(&["tea"]), &fields(&[])).unwrap_err()[0]
            .to_string()
            .contains("no default")
    );
}

#[test]
fn a_row_is_deleted_by_its_column() {
    let branch = mapped(BRANCH, &products(Engine::MariaDb), Engine::MariaDb);
    let row = |deleted: Cell| {
        vec![Cell::text("7"), Cell::Null, Cell::text("1"), Cell::Null, Cell::Null, deleted]
    };
    assert_eq!(branch.is_deleted(&row(Cell::Null)), Ok(false));
    assert_eq!(branch.is_deleted(&row(Cell::text("2024-03-10 00:30:00.120"))), Ok(true));
    assert!(branch.is_deleted(&row(Cell::text("0000-00-00 00:00:00.000"))).is_err());
    let mark =
        |is_deleted| branch.mark_deleted(&key(&["7"]), is_deleted, 1_710_030_600_123).unwrap().set;
    assert_eq!(mark(true), [(5, Cell::text("2024-03-10 00:30:00.123"))]);
    assert_eq!(mark(false), [(5, Cell::Null)]);
    let flag = not_null(column("gone", "boolean", ColumnType::Boolean));
    let shape = table("stock", &["sku"], vec![not_null(text("sku")), flag]);
    let text = SHARED
        .replace("owner = \"head\"", "deleted = \"gone\"")
        .replace("qty = { kind = \"counter\" }", "");
    let shared = mapped(&text, &shape, Engine::Sqlite);
    assert_eq!(shared.is_deleted(&vec![Cell::text("tea"), Cell::Integer(1)]), Ok(true));
    assert_eq!(shared.insert(&key(&["tea"]), &fields(&[])).unwrap().row[1], Some(Cell::Integer(0)));
    assert!(
        mapped(SHARED, &stock(), Engine::Sqlite).mark_deleted(&key(&["tea"]), true, 0).is_none()
    );
}

#[test]
fn what_the_settings_say_is_read() {
    let text = BRANCH.replace(
        "[fields]",
        "where = \"id > 0 AND office = {site}\"\n on_leave = \"delete\"\n [fields]",
    );
    let mapping = mapped(&text, &products(Engine::Sqlite), Engine::Sqlite);
    assert_eq!(mapping.bound.filter.as_deref(), Some("id > 0 AND office = {site}"));
    assert_eq!((mapping.record_filter.as_deref(), mapping.on_leave), (None, BridgeOnLeave::Delete));
    assert_eq!((mapping.mass_change, mapping.ack_timeout), (0.2, Duration::from_secs(3600)));
    assert!(mapping.is_owner && mapping.bound.is_captured);
    let text =
        SHARED.replace("\"both\"", "\"apply\"").replace("owner", "where = \"price > 1\"\n owner");
    let mapping = mapped(&text, &stock(), Engine::Postgres);
    let filter = mapping.filter().unwrap().unwrap();
    assert!(filter.matches(&fields(&[("price", string("1.10"))])));
    assert!(!filter.matches(&fields(&[("price", string("0.90"))])));
    assert_eq!(mapping.bound.filter, None);
}

#[test]
fn a_column_takes_the_kind_that_the_schema_declares() {
    let declared = |kind| BTreeMap::from([("created_at".to_owned(), kind)]);
    let text = BRANCH.replace("mode", "zone = \"UTC\"\n mode");
    let shape = products(Engine::MariaDb);
    let kind = |declared: &BTreeMap<String, FieldKind>| {
        let mapped = map_as(&config(&text), &shape, Engine::MariaDb, "north", 1, declared);
        mapped.into_result().map(|mapping| mapping.kinds()["created_at"])
    };
    assert_eq!(kind(&BTreeMap::new()), Ok(FieldKind::Timestamp));
    assert_eq!(kind(&declared(FieldKind::Datetime)), Ok(FieldKind::Datetime));
    let other = text.replace("[fields]", "[fields]\n created_at = { kind = \"timestamp\" }");
    let other = map_as(
        &config(&other),
        &shape,
        Engine::MariaDb,
        "north",
        1,
        &declared(FieldKind::Datetime),
    );
    assert!(other.refusals[0].why.contains("never changes"), "{:?}", other.refusals);
    let refusals = kind(&declared(FieldKind::Integer)).unwrap_err();
    assert!(
        refusals[0].why.contains("the schema of products declares created_at as integer"),
        "{refusals:?}"
    );
}

#[test]
fn plan_shows_every_column_with_what_it_is() {
    let mut shape = products(Engine::MariaDb);
    shape.columns.push(ColumnShape { is_generated: true, ..price("total") });
    shape.columns.push(text("legacy"));
    let text = BRANCH
        .replace("[fields]", "[fields]\n legacy = { skip = true }\n qty = { kind = \"counter\" }");
    let mapped = map(&config(&text), &shape, Engine::MariaDb, "north", 1);
    let roles: Vec<(&str, &str)> =
        mapped.lines.iter().map(|line| (&line.column[..], line.role.as_str())).collect();
    let expected = [
        ("id", "key"),
        ("product", "field"),
        ("qty", "counter"),
        ("cost", "field"),
        ("created_at", "field"),
        ("deleted_at", "deleted"),
        ("sent_at", "sent"),
        ("total", "generated"),
        ("legacy", "skipped"),
        ("", "constant"),
    ];
    assert_eq!(roles, expected);
    assert!(mapped.refusals.is_empty(), "{:?}", mapped.refusals);
    assert_eq!(mapped.lines[3].field.as_deref(), Some("unit_cost"));
    assert!(mapped.lines[4].note.contains("without a zone"));
}

proptest::proptest! {
    /// What one database captured, another one holds, and captures the same.
    #[test]
    fn a_row_is_the_same_row_after_its_record_went_to_another_database(
        sku in "[a-zé -]{1,12}", cents in -99_999_999_i64..99_999_999, qty in proptest::num::i64::ANY, has_price in proptest::bool::ANY,
    ) {
        let from = mapped(SHARED, &stock(), Engine::MariaDb);
        let mut sqlite = stock();
        sqlite.columns[1] = column("price", "text", text("price").kind);
        let to = mapped(&SHARED.replace("[fields]", "[fields]\n price = { kind = \"decimal\" }"), &sqlite, Engine::Sqlite);
        let price = format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        let price = if has_price { Cell::text(price) } else { Cell::Null };
        let qty = qty % (1 << 53);
        let row = vec![Cell::text(&sku), price, Cell::text(qty.to_string())];
        let id = from.record_id(&from.key_of(&row).unwrap()).unwrap();
        let found = from.fields_of(&row).unwrap();
        let mut record: Fields = found.counters.iter().map(|(name, n)| (name.clone(), Value::Counter(*n))).collect();
        for (name, json) in found.fields {
            record.insert(name, json.as_str().map_or(Value::Null, string));
        }
        let Address::Row(key) = to.address(&id).unwrap() else { panic!("{id}") };
        let insert = to.insert(&key, &record).unwrap();
        let there: Vec<Cell> = insert.row.into_iter().map(Option::unwrap).collect();
        proptest::prop_assert_eq!(to.record_id(&to.key_of(&there).unwrap()).unwrap(), id);
        let again = to.update(&key, &record, &there).unwrap();
        proptest::prop_assert!(again.set.is_empty() && again.add.is_empty());
        let back = from.update(&from.key_of(&row).unwrap(), &record, &row).unwrap();
        proptest::prop_assert!(back.set.is_empty() && back.add.is_empty());
        proptest::prop_assert_eq!(to.fields_of(&there).unwrap().counters, found.counters);
    }
}
