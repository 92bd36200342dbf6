//! What no bridge should do is refused, by name.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::sql::shape::{ForeignKey, TriggerShape, UniqueIndex};

/// The refusals of a table, as texts.
fn refusals(text: &str, shape: &TableShape, engine: Engine) -> Vec<String> {
    let mapped = map(&config(text), shape, engine, "north", 1);
    assert_eq!(mapped.mapping.is_some(), mapped.refusals.is_empty());
    mapped.refusals.iter().map(ToString::to_string).collect()
}

/// The only refusal, which begins with a name and says this.
#[track_caller]
fn refused(text: &str, shape: &TableShape, name: &str, why: &str) {
    let found = refusals(text, shape, Engine::Postgres);
    let [only] = &found[..] else { panic!("{found:#?}") };
    assert!(only.starts_with(&format!("{name}: ")) && only.contains(why), "{only}");
}

fn cascade(from: &str, to: &str) -> ForeignKey {
    let name = |name: &str| TableName { schema: None, name: name.to_owned() };
    ForeignKey {
        name: "link".to_owned(),
        from: name(from),
        from_columns: vec!["p".to_owned()],
        to: name(to),
        to_columns: vec!["id".to_owned()],
        on_delete: "CASCADE".to_owned(),
        on_update: "NO ACTION".to_owned(),
    }
}

fn trigger(event: &str) -> TriggerShape {
    TriggerShape { name: "stamp".to_owned(), event: event.to_owned(), is_enabled: true }
}

fn plain(extra: &str) -> String {
    format!("table = \"t\"\n collection = \"t\"\n mode = \"both\"\n {extra}")
}

#[test]
fn a_key_that_does_not_tell_rows_apart() {
    let keyed = |column| table("t", &["k"], vec![column, text("x")]);
    refused(&plain(""), &keyed(text("k")), "k", "NOT NULL");
    let trap = ColumnShape { key_trap: Some("'A' is 'a'".to_owned()), ..not_null(text("k")) };
    refused(&plain(""), &keyed(trap.clone()), "k", "name the key: key = [\"k\"]");
    let accepted = map(&config(&plain("key = [\"k\"]")), &keyed(trap), Engine::MariaDb, "north", 1);
    assert!(accepted.mapping.is_some() && accepted.warnings[0].contains("set aside"));
    let float = column("k", "double", ColumnType::Float { is_double: true });
    refused(&plain(""), &keyed(not_null(float)), "k", "names no rows");
    refused(
        &plain("key = [\"x\"]"),
        &table("t", &["k"], vec![not_null(text("k")), not_null(text("x"))]),
        "key",
        "unique index",
    );
    refused(&plain(""), &table("t", &[], vec![text("x")]), "key", "no primary key");
    refused(&plain("key = [\"kk\"]"), &keyed(not_null(text("k"))), "key", "did you mean k?");
    let mut unique = table("t", &["k"], vec![not_null(text("k")), not_null(text("code"))]);
    unique.unique.push(UniqueIndex {
        name: "u".to_owned(),
        columns: vec!["code".to_owned()],
        is_plain: true,
    });
    assert!(refusals(&plain("key = [\"code\"]"), &unique, Engine::Postgres).is_empty());
    unique.unique[0].is_plain = false;
    refused(&plain("key = [\"code\"]"), &unique, "key", "unique index");
}

#[test]
fn a_template_that_could_give_two_rows_one_id() {
    let shape = table("t", &["a", "b"], vec![not_null(text("a")), not_null(text("b")), text("x")]);
    refused(&plain("record_id = \"{a}{b}\""), &shape, "record_id", "nothing between");
    refused(&plain("record_id = \"{a}\""), &shape, "record_id", "{b} is missing");
    refused(&plain("record_id = \"{a}-{b}-{x}\""), &shape, "record_id", "{x}");
}

#[test]
fn numbers_that_the_database_gives_out_are_not_applied_from_other_offices() {
    let shape = table("t", &["id"], vec![numbered(integer("id"))]);
    refused(&plain(""), &shape, "id", "{site}-{id}");
    assert!(refusals(&plain("record_id = \"{site}-{id}\""), &shape, Engine::Postgres).is_empty());
    let with_office =
        table("t", &["office", "id"], vec![not_null(text("office")), numbered(integer("id"))]);
    let warned = |shape: &TableShape| {
        let mapped = map(&config(&plain("")), shape, Engine::Postgres, "north", 1);
        assert!(mapped.mapping.is_some(), "{:?}", mapped.refusals);
        mapped.warnings.join("; ")
    };
    assert!(
        warned(&with_office).contains("office has to name the office"),
        "{}",
        warned(&with_office)
    );
    // Lines of orders have the numbers of this office's orders.
    let lines = table(
        "t",
        &["order_id", "line"],
        vec![not_null(integer("order_id")), not_null(integer("line"))],
    );
    assert!(warned(&lines).contains("{site}-{order_id}-{line}"), "{}", warned(&lines));
    assert_eq!(warned(&table("t", &["k"], vec![not_null(text("k"))])), "");
    let captured =
        map(&config(&plain("").replace("both", "capture")), &shape, Engine::Postgres, "north", 1);
    assert!(captured.mapping.is_some() && captured.warnings[0].contains("{site}-{id}"));
}

#[test]
fn a_counter_that_is_no_whole_number_or_nobody_s() {
    refused(&SHARED.replace("owner = \"head\"", ""), &stock(), "owner", "they would add up");
    let mut shape = stock();
    shape.columns[2].is_nullable = true;
    refused(SHARED, &shape, "qty", "make it NOT NULL");
    shape.columns[2] = not_null(price("qty"));
    refused(SHARED, &shape, "qty", "only integer columns");
}

#[test]
fn columns_and_fields_that_are_not_there_or_called_wrongly() {
    let fields = |fields: &str| SHARED.replace("[fields]", &format!("[fields]\n {fields}"));
    refused(&fields("prise = \"p\""), &stock(), "prise", "did you mean price?");
    refused(&fields("price = { kind = \"list\" }"), &stock(), "price", "use the kind string");
    refused(&fields("price = \"_price\""), &stock(), "price", "reserved");
    refused(&fields("price = \"a.b\""), &stock(), "price", "path");
    refused(&fields("price = \"qty\""), &stock(), "qty", "already");
    refused(&fields("price = { constant = \"1\" }"), &stock(), "price", "no column has");
    refused(
        &SHARED.replace("owner", "deleted = \"gone\"\n owner"),
        &stock(),
        "deleted",
        "no such column",
    );
    refused(
        &SHARED.replace("owner", "zone = \"Europe/Madird\"\n owner"),
        &stock(),
        "zone",
        "no time zone",
    );
    refused(
        &SHARED.replace("owner", "mass_change = \"20\"\n owner"),
        &stock(),
        "mass_change",
        "0% to 100%",
    );
    refused(
        &SHARED.replace("\"stock\"\n    mode", "\"Stock\"\n    mode"),
        &stock(),
        "collection",
        "Stock",
    );
    let mut shape = stock();
    shape.columns[1].is_nullable = false;
    refused(&fields("price = { skip = true }"), &shape, "price", "give it a default");
    shape.columns[1] =
        column("price", "money", ColumnType::Refused { why: "it changes".to_owned() });
    refused(SHARED, &shape, "price", "it changes; or leave it out with skip = true");
    shape.refusals.push("it is a view".to_owned());
    assert!(refusals(SHARED, &shape, Engine::Postgres).contains(&"stock: it is a view".to_owned()));
}

#[test]
fn triggers_and_cascades_that_nobody_decided_about() {
    let mut shape = stock();
    shape.triggers.push(trigger("AFTER INSERT"));
    shape.foreign_keys.push(cascade("lines", "stock"));
    refused(
        SHARED,
        &shape,
        "side_effects",
        "trigger stamp (AFTER INSERT), foreign key link of lines",
    );
    refused(
        &SHARED.replace("owner", "side_effects = \"refuse\"\n owner"),
        &shape,
        "side_effects",
        "set these off",
    );
    let captured = SHARED.replace("owner", "side_effects = \"capture\"\n owner");
    assert!(refusals(&captured, &shape, Engine::Postgres).is_empty());
    assert!(refusals(&SHARED.replace("both", "capture"), &shape, Engine::Postgres).is_empty());
    // What a parent's cascade does to this table is no doing of a record that is applied to it.
    let mut child = stock();
    child.foreign_keys.push(cascade("stock", "suppliers"));
    assert!(refusals(SHARED, &child, Engine::Postgres).is_empty());
    assert_eq!(mapped(SHARED, &child, Engine::MariaDb).bound.silent_cascades, child.foreign_keys);
    assert!(mapped(SHARED, &child, Engine::Sqlite).bound.silent_cascades.is_empty());
    let mut own = stock();
    own.foreign_keys.push(cascade("stock", "stock"));
    assert!(mapped(&captured, &own, Engine::Postgres).bound.cascades_to_itself);
}

#[test]
fn writing_back_that_would_change_another_column() {
    let mut shape = products(Engine::Postgres);
    shape.triggers.push(trigger("BEFORE INSERT OR UPDATE"));
    refused(BRANCH, &shape, "sent", "stamp (BEFORE INSERT OR UPDATE)");
    shape.triggers[0].is_enabled = false;
    assert!(refusals(BRANCH, &shape, Engine::Postgres).is_empty());
    shape.triggers[0] = trigger("AFTER DELETE");
    assert!(refusals(BRANCH, &shape, Engine::Postgres).is_empty());
    let with = |setting: &str| BRANCH.replace("sent = \"sent_at\"", setting);
    refused(&with("sent = \"product\""), &shape, "product", "neither a time nor a boolean");
    refused(&with("acked = \"sent_at\""), &shape, "acked_by", "whose receipt counts");
    refused(
        &BRANCH.replace("\"capture\"", "\"apply\""),
        &products(Engine::Postgres),
        "sent",
        "only applied",
    );
    refused(
        &BRANCH.replace("\"deleted_at\"", "\"product\""),
        &shape,
        "product",
        "neither a time nor a boolean",
    );
    let mut shape = products(Engine::Postgres);
    shape.columns[5].is_nullable = false;
    refused(BRANCH, &shape, "deleted_at", "make it nullable");
}
