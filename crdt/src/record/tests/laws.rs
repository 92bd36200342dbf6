//! Laws of merging, over random histories of three offices.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ReadDoc, ScalarValue};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::support::{
    Office, TestEntry, actor, assert_goes_out, assert_like_automerge, fields, merge,
};
use crate::record::change::chunk;
use crate::record::saved::assert_as_decoded;
use crate::record::{Edit, RecordChange, View};

const SCHEMA: &[(&str, &str)] = &[
    ("stock", "counter"),
    ("notes", "text"),
    ("lines", "list"),
    ("address.city", "string"),
    ("address.visits", "counter"),
];

#[derive(Debug, Clone)]
pub(super) enum LawStep {
    Edit(usize, Edit),
    /// For one of the versions that the office has had.
    EditOn(usize, prop::sample::Index, Edit),
    Pull(usize, usize),
}

fn free_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3i64..3).prop_map(Json::from),
        Just(json!(0.5)),
        "[ab]{0,2}".prop_map(Json::from),
        (-2i64..3).prop_map(|n| json!({"$inc": n})),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|mut items| {
                items.retain(|item| item.get("$inc").is_none());
                Json::from(items)
            }),
            proptest::collection::btree_map("[xy]", inner, 0..3)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn record() -> impl Strategy<Value = Json> {
    let declared = prop_oneof![
        (-5i64..5).prop_map(|n| ("stock", json!(n))),
        (-5i64..5).prop_map(|n| ("stock", json!({"$inc": n}))),
        "[abc ]{0,8}".prop_map(|s| ("notes", json!(s))),
        proptest::collection::vec(0..4, 0..5).prop_map(|items| ("lines", json!(items))),
        "[ab]".prop_map(|s| ("address", json!({"city": s}))),
        (0i64..4).prop_map(|n| ("address", json!({"visits": n, "city": "c"}))),
        Just(("notes", Json::Null)),
        Just(("address", json!({"city": null}))),
    ];
    let free = (prop_oneof![Just("p"), Just("q"), Just("r")], free_json());
    proptest::collection::vec(prop_oneof![declared, free], 0..4).prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, json)| (name.to_owned(), json));
        Json::Object(fields.collect())
    })
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => record().prop_map(|json| Edit::Put(fields(json))),
        5 => record().prop_map(merge),
        2 => record().prop_map(|json| Edit::Import(fields(json))),
        2 => record().prop_map(|json| Edit::Revive(fields(json))),
        1 => Just(Edit::Delete),
        1 => Just(Edit::Undelete),
    ]
}

pub(super) fn steps() -> impl Strategy<Value = Vec<LawStep>> {
    let step = prop_oneof![
        3 => (0usize..3, edit()).prop_map(|(who, edit)| LawStep::Edit(who, edit)),
        1 => (0usize..3, any::<prop::sample::Index>(), edit())
            .prop_map(|(who, at, edit)| LawStep::EditOn(who, at, edit)),
        1 => (0usize..3, 0usize..3).prop_map(|(to, from)| LawStep::Pull(to, from)),
    ];
    proptest::collection::vec(step, 1..25)
}

pub(super) fn play(steps: &[LawStep], is_declared: bool) -> Vec<Office> {
    let new = |number| {
        if is_declared { Office::with_schema(number, SCHEMA) } else { Office::new(number) }
    };
    let mut offices: Vec<Office> = (1..4).map(new).collect();
    for step in steps {
        match step {
            LawStep::Edit(who, edit) => {
                let office = &mut offices[*who];
                let (before, summary) = (office.view(), office.document.summary());
                match office.try_edit(edit) {
                    Ok(true) => assert_ne!(office.document.summary(), summary),
                    Ok(false) => assert_eq!(office.view(), before),
                    Err(error) => {
                        // Everything refused is refused to the user, never by the check.
                        assert!(
                            !matches!(error, crate::record::EditError::Refused(_)),
                            "{error:?}"
                        );
                        assert_eq!(office.view(), before);
                    }
                }
                assert_like_automerge(office);
                repeat(office, edit);
            }
            LawStep::EditOn(who, at, edit) => {
                let office = &mut offices[*who];
                let before = office.view();
                let version = at.get(&office.versions).clone();
                match office.try_edit_on(&version, edit) {
                    Ok(true) => {}
                    Ok(false) => assert_eq!(office.view(), before),
                    Err(error) => {
                        assert!(
                            !matches!(error, crate::record::EditError::Refused(_)),
                            "{error:?}"
                        );
                        assert_eq!(office.view(), before);
                    }
                }
                assert_like_automerge(office);
            }
            LawStep::Pull(to, from) => {
                let from = offices[*from].clone();
                offices[*to].pull(&from);
                assert_like_automerge(&offices[*to]);
            }
        }
    }
    offices
}

/// The same edit twice is the same as once, unless it increments.
fn repeat(office: &Office, edit: &Edit) {
    let text = match edit {
        Edit::Put(fields)
        | Edit::Merge { patch: fields, .. }
        | Edit::Import(fields)
        | Edit::Revive(fields) => json!(fields).to_string(),
        Edit::Delete => return,
        Edit::Undelete => String::new(),
    };
    if !text.contains("$inc") {
        let mut office = office.clone();
        let again = office.try_edit(edit);
        assert!(!matches!(again, Ok(true)), "{edit:?} twice: {:?}", office.view());
    }
}

/// Delivers entries in an order that the keys choose among all causal ones.
fn deliver(entries: &[TestEntry], keys: &[u8]) -> Office {
    let mut office = Office::new(77);
    let mut rest: Vec<&TestEntry> = entries.iter().collect();
    let mut keys = keys.iter().cycle();
    while !rest.is_empty() {
        let ready: Vec<usize> =
            (0..rest.len()).filter(|at| office.check(rest[*at]).is_ok()).collect();
        assert!(!ready.is_empty(), "a change is accepted at no place");
        let at = ready[usize::from(*keys.next().unwrap()) % ready.len()];
        office.receive(rest.remove(at));
    }
    office
}

fn all_entries(offices: &[Office]) -> Vec<TestEntry> {
    let mut sink = offices[0].clone();
    for office in offices {
        sink.pull(office);
    }
    sink.entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_glance_at_a_garbled_record_finds_what_reading_all_of_it_finds(
        steps in steps(),
        is_declared in any::<bool>(),
        garbled in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>()), 1..40),
    ) {
        for office in play(&steps, is_declared) {
            let saved = office.document.save();
            let mut all = saved.clone();
            for (at, how, byte) in &garbled {
                for bytes in [&mut saved.clone(), &mut all] {
                    let at = at.index(bytes.len());
                    match how {
                        0 => bytes[at] = *byte,
                        // What begins a longer integer, or is the number of a variant.
                        1 => bytes[at] = 248 + byte % 8,
                        2 => bytes[at] = byte % 12,
                        _ => {
                            bytes.insert(at, *byte);
                            bytes.truncate(bytes.len() - usize::from(byte % 2));
                        }
                    }
                    assert_as_decoded(bytes);
                }
            }
        }
    }

    #[test]
    fn replicas_with_the_same_changes_agree_and_read_like_automerge(
        steps in steps(),
        keys in proptest::collection::vec(any::<u8>(), 1..20),
        is_declared in any::<bool>(),
    ) {
        let mut offices = play(&steps, is_declared);
        let entries = all_entries(&offices);
        for office in &mut offices {
            for entry in &entries {
                office.receive(entry);
            }
        }
        let views: Vec<_> = offices.iter().map(Office::view).collect();
        prop_assert_eq!(&views[0], &views[1]);
        prop_assert_eq!(&views[0], &views[2]);
        for office in offices.iter_mut() {
            let View { deleted, heads, .. } = office.view();
            if deleted || heads.is_empty() {
                continue;
            }
            // What is shown, imported again, changes nothing and settles nothing.
            let shown = Edit::Import(fields(office.json()));
            prop_assert!(!office.clone().try_edit(&shown).unwrap(), "{:?}", office.view());
        }
        let office = deliver(&entries, &keys);
        prop_assert_eq!(&office.view(), &views[0]);
        prop_assert_eq!(office.document.save(), offices[0].document.save());
        assert_like_automerge(&office);
        assert_goes_out(&office);
    }

    #[test]
    fn changes_that_automerge_itself_makes_are_accepted_and_read_alike(
        steps in proptest::collection::vec(
            (0usize..3, 0u8..14, any::<prop::sample::Index>(), -4i64..5),
            1..60,
        ),
        keys in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut docs: Vec<AutoCommit> = (1..4u8)
            .map(|n| AutoCommit::new().with_actor(ActorId::from([n; 16])))
            .collect();
        for (who, what, at, n) in &steps {
            foreign_step(&mut docs, *who, *what, *at, *n);
        }
        let mut sum = docs[0].fork();
        for doc in &mut docs {
            sum.merge(doc).unwrap();
        }
        let entries: Vec<TestEntry> = sum
            .get_changes(&[])
            .iter()
            .filter(|change| !change.is_empty())
            .map(|change| TestEntry {
                actor: actor(change.actor_id().to_bytes()[0]),
                change: RecordChange {
                    genesis: Vec::new(),
                    body: chunk::body_of(change.raw_bytes()).to_vec(),
                },
            })
            .collect();
        let mut office = deliver(&entries, &keys);
        assert_like_automerge(&office);
        assert_goes_out(&office);
        prop_assert_eq!(office.document.save(), deliver(&entries, &[0]).document.save());
        // What is read from such a record can be edited like any other.
        for edit in [Edit::Put(fields(office.json())), merge(json!({"a": 1, "b": [1], "c": {}}))] {
            if let Err(error) = office.try_edit(&edit) {
                prop_assert!(
                    !matches!(error, crate::record::EditError::Refused(_)),
                    "{:?}", error
                );
            }
            assert_like_automerge(&office);
        }
    }
}

/// One thing that Automerge's own users do.
fn foreign_step(docs: &mut [AutoCommit], who: usize, what: u8, at: prop::sample::Index, n: i64) {
    const FIELDS: [&str; 4] = ["a", "b", "c", "d"];
    let field = FIELDS[at.index(FIELDS.len())];
    if what >= 12 {
        let mut from = docs[(who + 1) % 3].fork();
        docs[who].merge(&mut from).unwrap();
        return;
    }
    let doc = &mut docs[who];
    let shown = doc.get(automerge::ROOT, field).unwrap();
    let object = shown.and_then(|(value, id)| Some((value.to_objtype()?, id)));
    // Results are ignored: not everything can be done to every value.
    let _ = match (what, object) {
        (0, _) => doc.put(automerge::ROOT, field, n),
        (1, _) => doc.put(automerge::ROOT, field, "text"),
        (2, _) => doc.put(automerge::ROOT, field, ScalarValue::counter(n)),
        (3 | 4, None) => doc.increment(automerge::ROOT, field, n),
        (5, _) => doc.delete(automerge::ROOT, field),
        (6, None) => doc.put_object(automerge::ROOT, field, ObjType::Map).map(|_| ()),
        (7, None) => doc.put_object(automerge::ROOT, field, ObjType::List).map(|_| ()),
        (8, None) => doc.put_object(automerge::ROOT, field, ObjType::Text).map(|_| ()),
        (9, _) => {
            doc.commit();
            Ok(())
        }
        (_, Some((kind, id))) => foreign_object_step(doc, what, kind, &id, at, n),
        (_, None) => Ok(()),
    };
}

fn foreign_object_step(
    doc: &mut AutoCommit,
    what: u8,
    kind: ObjType,
    id: &ObjId,
    at: prop::sample::Index,
    n: i64,
) -> Result<(), automerge::AutomergeError> {
    let length = doc.length(id);
    match kind {
        ObjType::Map | ObjType::Table => match what {
            3 => doc.put(id, "k", ScalarValue::counter(n)),
            4 => doc.increment(id, "k", n),
            6 => doc.delete(id, "k"),
            7 => doc.put_object(id, "m", ObjType::Map).map(|_| ()),
            _ => doc.put(id, "k", n),
        },
        ObjType::List => match what {
            3 if length > 0 => doc.put(id, at.index(length), n),
            4 if length > 0 => doc.delete(id, at.index(length)),
            6 if length > 0 => doc.put(id, at.index(length), ScalarValue::counter(n)),
            7 if length > 0 => doc.increment(id, at.index(length), n),
            8 => doc.insert_object(id, 0, ObjType::Map).map(|_| ()),
            _ => doc.insert(id, at.index(length + 1), n),
        },
        ObjType::Text => {
            let at = at.index(length + 1);
            let removed = isize::from(what.is_multiple_of(2) && at < length);
            doc.splice_text(id, at, removed, "xy")
        }
    }
}
