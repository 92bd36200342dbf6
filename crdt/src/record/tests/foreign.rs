//! Documents that go out, are edited by other programs, and come back.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjType, ROOT, ScalarValue};
use serde_json::{Value as Json, json};

use super::editors::{Site, meet, object};
use crate::record::{DocumentRefused, Edit};

const EDITOR: &[u8] = b"an editor";
const OTHER: &[u8] = b"another program, with a long name";

fn site(record: Json) -> Site {
    let mut site = Site::new(1);
    site.office.put(record);
    site
}

/// Two offices with the same record.
fn sites(record: Json) -> [Site; 2] {
    let mut sites = [site(record), Site::new(2)];
    meet(&mut sites);
    sites
}

/// The fields that do not fit, with what is said of them.
fn misfits(refused: Result<usize, DocumentRefused>) -> Vec<String> {
    match refused {
        Err(DocumentRefused::Misfits { fields, .. }) => {
            fields.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn set_text(doc: &mut AutoCommit, field: &str, text: &str) {
    let made = doc.put_object(ROOT, field, ObjType::Text).unwrap();
    doc.splice_text(&made, 0, 0, text).unwrap();
}

#[test]
fn edits_of_another_program_merge_with_what_changed_meanwhile() {
    let record = json!({
        "price": 1, "name": "tea", "stock": 10, "notes": "abc", "lines": [1, 2, 3],
        "address": {"city": "Graz", "visits": 1},
    });
    let [mut a, mut b] = sites(record);
    let mut doc = a.lend(EDITOR);
    doc.put(ROOT, "price", 2).unwrap();
    doc.put(ROOT, "shelf", "B").unwrap();
    doc.increment(ROOT, "stock", -3).unwrap();
    let notes = object(&doc, &ROOT, "notes");
    doc.splice_text(&notes, 3, 0, "d").unwrap();
    let lines = object(&doc, &ROOT, "lines");
    doc.delete(&lines, 0).unwrap();
    doc.insert(&lines, 2, 4).unwrap();
    let address = object(&doc, &ROOT, "address");
    doc.increment(&address, "visits", 5).unwrap();
    doc.put(&address, "zip", "8010").unwrap();
    a.office
        .merge(json!({"price": 3, "stock": {"$inc": 1}, "notes": "xabc", "lines": [1, 9, 2, 3]}));
    b.office.merge(json!({"name": "green tea", "address": {"visits": {"$inc": 2}}}));
    assert_eq!(a.take(&doc.save(), false).unwrap(), 1);
    let mut sites = [a, b];
    meet(&mut sites);
    let json = sites[0].json();
    assert_eq!(sites[0].conflict("price"), [json!(2), json!(3)]);
    let expected = json!({
        "price": json["price"], "name": "green tea", "shelf": "B", "stock": 8, "notes": "xabcd",
        "lines": [9, 2, 3, 4], "address": {"city": "Graz", "visits": 8, "zip": "8010"},
    });
    assert_eq!(json, expected);
}

#[test]
fn a_document_that_is_edited_further_counts_each_edit_once_at_every_site() {
    let [mut a, mut b] = sites(json!({"stock": 10, "notes": "tea"}));
    let mut doc = a.lend(EDITOR);
    let notes = object(&doc, &ROOT, "notes");
    doc.increment(ROOT, "stock", -1).unwrap();
    doc.splice_text(&notes, 3, 0, "pot").unwrap();
    assert_eq!(a.take(&doc.save(), false).unwrap(), 1);
    a.office.merge(json!({"notes": "teapot!"}));
    doc.increment(ROOT, "stock", -2).unwrap();
    doc.commit();
    // On what it wrote itself, which is the site's by now.
    doc.splice_text(&notes, 3, 3, "cup").unwrap();
    b.pull(&a);
    assert_eq!(b.take(&doc.save(), false).unwrap(), 2);
    let mut sites = [a, b];
    meet(&mut sites);
    assert_eq!(sites[0].json(), json!({"stock": 7, "notes": "teacup!"}));
}

#[test]
fn two_programs_edit_apart_and_their_edits_merge() {
    let [mut a, mut b] = sites(json!({"stock": 10, "notes": "b", "price": 1}));
    let (mut one, mut two) = (a.lend(EDITOR), b.lend(OTHER));
    for (doc, price) in [(&mut one, 2), (&mut two, 3)] {
        doc.increment(ROOT, "stock", -1).unwrap();
        doc.put(ROOT, "price", price).unwrap();
    }
    let notes = object(&one, &ROOT, "notes");
    one.splice_text(&notes, 0, 0, "a").unwrap();
    two.splice_text(&notes, 1, 0, "c").unwrap();
    a.take(&one.save(), false).unwrap();
    b.take(&two.save(), false).unwrap();
    let mut sites = [a, b];
    meet(&mut sites);
    assert_eq!(sites[0].json()["stock"], 8);
    assert_eq!(sites[0].json()["notes"], "abc");
    assert_eq!(sites[0].conflict("price"), [json!(2), json!(3)]);
    // They also merge with one another, and one settles the conflict.
    one.merge(&mut two).unwrap();
    one.put(ROOT, "price", 4).unwrap();
    assert_eq!(sites[1].take(&one.save(), false).unwrap(), 1);
    assert_eq!(sites[1].json()["price"], 4);
    assert!(sites[1].conflict("price").is_empty());
}

#[test]
fn texts_stand_for_values_where_the_schema_says_so() {
    let mut a = site(json!({"label": "old", "cost": "1.00", "size": 1, "free": "x"}));
    let mut doc = a.lend(EDITOR);
    for (field, text) in [
        ("label", "new"),
        ("cost", "2.50"),
        ("size", "-12"),
        ("since", "2026-01-31T12:00:00Z"),
        ("free", "y"),
    ] {
        set_text(&mut doc, field, text);
    }
    assert_eq!(a.take(&doc.save(), false).unwrap(), 1);
    let expected = json!({
        "label": "new", "cost": "2.50", "size": -12, "since": "2026-01-31T12:00:00.000Z", "free": "y",
    });
    assert_eq!(a.json(), expected);
    let kinds: Vec<_> =
        a.office.view().fields.into_iter().map(|(name, value)| (name, value.kind_name())).collect();
    let kinds: Vec<_> = kinds.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let expected = [
        ("cost", "string"),
        ("free", "text"),
        ("label", "string"),
        ("since", "timestamp"),
        ("size", "integer"),
    ];
    assert_eq!(kinds, expected);
    // The program goes on with its own texts.
    let label = object(&doc, &ROOT, "label");
    doc.splice_text(&label, 3, 0, "er").unwrap();
    doc.commit();
    doc.splice_text(&label, 0, 1, "N").unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!(a.json()["label"], "Newer");
    a.office.merge(json!({"label": "newest"}));
    doc.splice_text(&label, 0, 5, "N").unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!(a.conflict("label"), [json!("N"), json!("newest")]);
    // Once it was replaced, what is done to it has no effect.
    let mut late = doc.fork().with_actor(ActorId::from(OTHER));
    late.splice_text(&label, 1, 0, "late").unwrap();
    doc.put(ROOT, "label", ScalarValue::Str("plain".into())).unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!(a.conflict("label"), [json!("newest"), json!("plain")]);
    doc.merge(&mut late).unwrap();
    doc.put(ROOT, "price", 1).unwrap();
    a.take(&doc.save(), false).unwrap();
    // One who had not seen that it was replaced.
    assert_eq!(a.conflict("label").len(), 3, "{:?}", a.conflict("label"));
}

#[test]
fn every_field_that_does_not_fit_is_named_and_nothing_is_taken() {
    let mut a = site(json!({"stock": 1, "notes": "x", "size": 3}));
    let before = a.json();
    let mut doc = a.lend(EDITOR);
    set_text(&mut doc, "cost", "cheap");
    doc.put(ROOT, "size", 1.5).unwrap();
    doc.put(ROOT, "notes", "no text").unwrap();
    doc.put(ROOT, "stock", ScalarValue::counter(7)).unwrap();
    doc.put(ROOT, "big", ScalarValue::Uint(u64::MAX)).unwrap();
    doc.put(ROOT, "_own", 1).unwrap();
    doc.put(ROOT, "fine", 1).unwrap();
    let found = misfits(a.take(&doc.save(), false));
    let names = ["\"_own\"", "\"big\"", "\"cost\"", "\"notes\"", "\"size\"", "\"stock\""];
    assert_eq!(found.len(), names.len(), "{found:#?}");
    for (found, name) in found.iter().zip(names) {
        assert!(found.starts_with(name), "{found} of {name}");
    }
    assert_eq!(a.json(), before);
    // What is put right in the same document fits, but a counter that was put over is lost for others.
    let mut doc = a.lend(EDITOR);
    set_text(&mut doc, "cost", "cheap");
    doc.put(ROOT, "size", 1.5).unwrap();
    doc.commit();
    set_text(&mut doc, "cost", "0.50");
    doc.put(ROOT, "size", 2).unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!((a.json()["cost"].clone(), a.json()["size"].clone()), (json!("0.50"), json!(2)));
    for put_right in [false, true] {
        let mut doc = a.lend(OTHER);
        doc.delete(ROOT, "stock").unwrap();
        if put_right {
            doc.put(ROOT, "stock", ScalarValue::counter(1)).unwrap();
        }
        let found = misfits(a.take(&doc.save(), false));
        assert!(found[0].starts_with("\"stock\" is a counter"), "{found:?}");
    }
}

#[test]
fn a_required_field_may_not_go() {
    let mut a = Site::new(1);
    a.office.schema = super::support::Office::with_schema(1, &[("name", "string required")]).schema;
    a.office.put(json!({"name": "tea", "price": 1}));
    let mut doc = a.lend(EDITOR);
    doc.delete(ROOT, "name").unwrap();
    let found = misfits(a.take(&doc.save(), false));
    assert_eq!(found, ["\"name\" is required, of kind string, and missing or null"]);
    let mut doc = AutoCommit::new().with_actor(ActorId::from(OTHER));
    doc.put(ROOT, "price", 2).unwrap();
    let mut b = Site::new(2);
    b.office.schema = a.office.schema.clone();
    assert_eq!(misfits(b.take(&doc.save(), true)).len(), 1);
    doc.put(ROOT, "name", "tea").unwrap();
    b.take(&doc.save(), true).unwrap();
    assert_eq!(b.json(), json!({"name": "tea", "price": 2}));
}

#[test]
fn a_document_becomes_a_new_record_where_that_is_asked_for() {
    let mut doc = AutoCommit::new().with_actor(ActorId::from(EDITOR));
    doc.put(ROOT, "stock", ScalarValue::counter(5)).unwrap();
    set_text(&mut doc, "label", "tea");
    set_text(&mut doc, "notes", "good");
    let address = doc.put_object(ROOT, "address", ObjType::Map).unwrap();
    doc.put(&address, "visits", ScalarValue::counter(1)).unwrap();
    let lines = doc.put_object(ROOT, "lines", ObjType::List).unwrap();
    let line = doc.insert_object(&lines, 0, ObjType::Map).unwrap();
    doc.put(&line, "n", 1).unwrap();
    let bytes = doc.save();
    let (mut a, mut b) = (Site::new(1), Site::new(2));
    assert!(matches!(a.take(&bytes, false), Err(DocumentRefused::Missing)));
    assert_eq!(a.take(&bytes, true).unwrap(), 1);
    let expected = json!({
        "stock": 5, "label": "tea", "notes": "good", "address": {"visits": 1}, "lines": [{"n": 1}],
    });
    assert_eq!(a.json(), expected);
    // Counters, texts, lists and maps that the schema declares are those that any office would make.
    b.office.put(json!({"stock": 2, "address": {"city": "Graz", "visits": 2}}));
    assert!(matches!(b.take(&bytes, false), Err(DocumentRefused::Stranger)));
    assert!(matches!(b.take(&bytes, true), Err(DocumentRefused::Exists)));
    let mut sites = [a, b];
    meet(&mut sites);
    assert_eq!(sites[0].json()["stock"], 7);
    assert_eq!(sites[0].json()["address"], json!({"visits": 3, "city": "Graz"}));
    // It goes on being edited.
    doc.increment(ROOT, "stock", 1).unwrap();
    doc.insert(&lines, 1, 2).unwrap();
    assert_eq!(sites[1].take(&doc.save(), false).unwrap(), 1);
    assert_eq!(sites[1].json()["stock"], 8);
    assert_eq!(sites[1].json()["lines"], json!([{"n": 1}, 2]));
}

#[test]
fn a_field_that_is_only_made_is_there() {
    let mut a = site(json!({"price": 1}));
    let mut doc = a.lend(EDITOR);
    doc.put_object(ROOT, "lines", ObjType::List).unwrap();
    doc.commit();
    let lines = object(&doc, &ROOT, "lines");
    doc.insert(&lines, 0, 1).unwrap();
    doc.put_object(ROOT, "address", ObjType::Map).unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!(a.json(), json!({"price": 1, "lines": [1], "address": {}}));
    let address = object(&doc, &ROOT, "address");
    doc.put(&address, "city", "Graz").unwrap();
    a.take(&doc.save(), false).unwrap();
    assert_eq!(a.json()["address"], json!({"city": "Graz"}));
    assert!(AutoCommit::new().save().len() > 8, "a document without changes is one");
    let mut empty = Site::new(2);
    let refused = empty.take(&AutoCommit::new().save(), true);
    assert!(matches!(refused, Err(DocumentRefused::NoEdits)), "{refused:?}");
}

#[test]
fn an_element_that_was_removed_here_and_written_there_comes_back() {
    let mut a = site(json!({"lines": [1, 2, 3]}));
    let (mut one, mut two) = (a.lend(EDITOR), a.lend(OTHER));
    let lines = object(&one, &ROOT, "lines");
    a.office.merge(json!({"lines": [1, 3]}));
    one.put(&lines, 1, 22).unwrap();
    two.put(&lines, 1, 33).unwrap();
    a.take(&one.save(), false).unwrap();
    assert_eq!(a.json()["lines"], json!([1, 22, 3]));
    one.insert(&lines, 2, 23).unwrap();
    one.commit();
    one.put(&lines, 1, 24).unwrap();
    a.take(&one.save(), false).unwrap();
    assert_eq!(a.json()["lines"], json!([1, 24, 23, 3]));
    one.merge(&mut two).unwrap();
    a.take(&one.save(), false).unwrap();
    one.delete(&lines, 1).unwrap();
    a.take(&one.save(), false).unwrap();
    assert_eq!(a.json()["lines"], json!([1, 23, 3]));
}

#[test]
fn an_element_that_came_back_elsewhere_is_none_to_a_change_that_has_not_seen_it() {
    let mut a = site(json!({"lines": [1]}));
    let (mut one, mut two) = (a.lend(EDITOR), a.lend(OTHER));
    let lines = object(&one, &ROOT, "lines");
    let mut b = a.clone();
    b.office.actor = super::support::actor(2);
    b.office.merge(json!({"lines": []}));
    one.put(&lines, 0, 11).unwrap();
    b.take(&one.save(), false).unwrap();
    assert_eq!(b.json()["lines"], json!([11]));
    two.insert(&lines, 1, 2).unwrap();
    two.merge(&mut one).unwrap();
    a.pull(&b);
    a.take(&two.save(), false).unwrap();
    let mut found = a.json()["lines"].as_array().cloned().unwrap();
    found.sort_by_key(Json::as_u64);
    assert_eq!(found, [json!(2), json!(11)]);
}

#[test]
fn changes_that_claim_to_be_a_sites_are_refused() {
    let mut a = site(json!({"price": 1}));
    let mut doc = a.lend(&[2; 16]);
    doc.put(ROOT, "price", 2).unwrap();
    let refused = a.take(&doc.save(), false);
    assert!(matches!(&refused, Err(DocumentRefused::Forged { actor }) if *actor == [2; 16]));
    let mut b = a.clone();
    b.office.actor = super::support::actor(2);
    b.office.merge(json!({"price": 3}));
    let refused = a.take(&b.save(), false);
    assert!(matches!(refused, Err(DocumentRefused::Forged { .. })), "{refused:?}");
    a.pull(&b);
    assert_eq!(a.take(&b.save(), false).unwrap(), 0);
}

#[test]
fn a_series_of_changes_is_as_good_as_a_document() {
    let mut a = site(json!({"price": 1}));
    let mut doc = a.lend(EDITOR);
    let taken = doc.get_heads();
    for n in 0..3 {
        doc.put(ROOT, "price", n).unwrap();
        let text = "long enough to be compressed ".repeat(20);
        doc.put(ROOT, "text", text).unwrap();
        doc.commit();
    }
    let changes = doc.get_changes(&taken);
    let bytes = |range: &[automerge::Change]| -> Vec<u8> {
        range.iter().flat_map(|change| change.clone().bytes().to_vec()).collect()
    };
    assert_eq!(bytes(&changes)[8], 2, "compressed");
    let lacks = a.take(&bytes(&changes[1..]), false);
    assert!(matches!(lacks, Err(DocumentRefused::Lacks { .. })), "{lacks:?}");
    assert_eq!(a.take(&bytes(&changes), false).unwrap(), 3);
    assert_eq!(a.take(&doc.save_nocompress(), false).unwrap(), 0);
}

#[test]
fn a_document_with_its_edits_twice_is_refused() {
    let mut a = site(json!({"stock": 1}));
    let mut doc = a.lend(EDITOR);
    doc.increment(ROOT, "stock", 1).unwrap();
    a.take(&doc.save(), false).unwrap();
    doc.merge(&mut a.lend(OTHER)).unwrap();
    assert_eq!(a.take(&doc.save(), false).unwrap(), 0);
    doc.increment(ROOT, "stock", 1).unwrap();
    let refused = a.take(&doc.save(), false);
    assert!(matches!(refused, Err(DocumentRefused::Doubled { .. })), "{refused:?}");
}

#[test]
fn edits_of_a_record_that_was_deleted_are_hidden_and_it_can_be_deleted_there() {
    let mut a = site(json!({"price": 1, "stock": 1}));
    let mut doc = a.lend(EDITOR);
    doc.increment(ROOT, "stock", 1).unwrap();
    a.office.delete();
    a.take(&doc.save(), false).unwrap();
    assert!(a.office.view().deleted);
    a.office.try_edit(&Edit::Undelete).unwrap();
    assert_eq!(a.json(), json!({"price": 1, "stock": 2}));
    let mut doc = a.lend(OTHER);
    doc.put(ROOT, "_deleted", true).unwrap();
    a.take(&doc.save(), false).unwrap();
    assert!(a.office.view().deleted);
    let mut doc = a.lend(EDITOR);
    doc.put(ROOT, "_deleted", "yes").unwrap();
    assert_eq!(misfits(a.take(&doc.save(), false)), ["\"_deleted\" must be true or false"]);
}
