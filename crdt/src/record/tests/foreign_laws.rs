//! Laws of documents that other programs edit, over random histories of three offices and two programs.
//!
//! Every value that anyone writes is a number of its own, so that it can be said of each, by what those who wrote had
//! before them, whether it is there in the end: as Automerge defines it, a value is there that was written and that nobody
//! who saw it replaced. How it is where all changes are one program's own is what Automerge itself says.

use std::collections::{BTreeMap, BTreeSet};

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, Automerge, ChangeHash, ObjId, ObjType, ROOT, ReadDoc};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Json, json};

use super::editors::{Site, contents, meet};
use super::support::assert_like_automerge;
use crate::record::{DocumentRefused, Edit};

#[derive(Debug, Clone)]
enum ForeignStep {
    Edit(usize, Write),
    Delete(usize),
    Undelete(usize),
    Pull(usize, usize),
    /// A program takes the record of an office, and leaves what it had.
    Lend {
        to: usize,
        from: usize,
    },
    Write(usize, Write),
    /// A program takes in what another has.
    Merge(usize, usize),
    /// An office takes in what a program has.
    Take {
        site: usize,
        from: usize,
    },
}

/// What is written; the numbers are given when it is.
#[derive(Debug, Clone)]
enum Write {
    Price,
    /// A field that no schema declares.
    Free,
    City,
    Stock(i64),
    Insert(Index),
    Set(Index),
    Remove(Index),
    Type(Index),
    Erase(Index),
}

fn write() -> impl Strategy<Value = Write> {
    let at = any::<Index>;
    prop_oneof![
        2 => Just(Write::Price),
        1 => Just(Write::Free),
        1 => Just(Write::City),
        2 => (-5i64..5).prop_map(Write::Stock),
        2 => at().prop_map(Write::Insert),
        2 => at().prop_map(Write::Set),
        1 => at().prop_map(Write::Remove),
        3 => at().prop_map(Write::Type),
        1 => at().prop_map(Write::Erase),
    ]
}

fn steps() -> impl Strategy<Value = Vec<ForeignStep>> {
    let step = prop_oneof![
        4 => (0usize..3, write()).prop_map(|(site, write)| ForeignStep::Edit(site, write)),
        1 => (0usize..3).prop_map(ForeignStep::Delete),
        1 => (0usize..3).prop_map(ForeignStep::Undelete),
        2 => (0usize..3, 0usize..3).prop_map(|(to, from)| ForeignStep::Pull(to, from)),
        1 => (0usize..2, 0usize..3).prop_map(|(to, from)| ForeignStep::Lend { to, from }),
        6 => (0usize..2, write()).prop_map(|(editor, write)| ForeignStep::Write(editor, write)),
        1 => (0usize..2, 0usize..2).prop_map(|(to, from)| ForeignStep::Merge(to, from)),
        3 => (0usize..3, 0usize..2).prop_map(|(site, from)| ForeignStep::Take { site, from }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What is there: the numbers, and the sum of the counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct There {
    numbers: BTreeSet<u32>,
    stock: i64,
}

fn there(doc: &impl ReadDoc) -> There {
    fn walk(json: &Json, there: &mut There) {
        match json {
            Json::Array(values) => values.iter().for_each(|json| walk(json, there)),
            Json::Object(fields) => match fields.iter().next() {
                Some((kind, Json::String(text))) if kind == "text" => {
                    there.numbers.extend(text.chars().map(u32::from));
                }
                Some((kind, Json::String(text))) if kind == "string" => {
                    // A text of one character may have come to stand for a string.
                    let character = text.chars().next().map(u32::from);
                    there.numbers.extend(text.parse::<u32>().ok().or(character));
                }
                Some((kind, Json::Number(sum))) if kind == "counter" => {
                    there.stock += sum.as_i64().unwrap();
                }
                Some(_) | None => fields.values().for_each(|json| walk(json, there)),
            },
            Json::String(number) => there.numbers.extend(number.parse::<u32>()),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
    let mut found = There::default();
    walk(&contents(doc, &ROOT), &mut found);
    found
}

/// What one write did, by what was there before and after.
#[derive(Debug, Clone)]
struct Effect {
    added: BTreeSet<u32>,
    removed: BTreeSet<u32>,
    by: i64,
}

impl Effect {
    fn of(before: &There, after: &There) -> Self {
        Self {
            added: &after.numbers - &before.numbers,
            removed: &before.numbers - &after.numbers,
            by: after.stock - before.stock,
        }
    }
}

fn sum<'a>(effects: impl Iterator<Item = &'a Effect> + Clone) -> There {
    let removed: BTreeSet<u32> = effects.clone().flat_map(|it| it.removed.clone()).collect();
    let added: BTreeSet<u32> = effects.clone().flat_map(|it| it.added.clone()).collect();
    There { numbers: &added - &removed, stock: effects.map(|it| it.by).sum() }
}

struct World {
    sites: Vec<Site>,
    editors: Vec<AutoCommit>,
    /// What was done at offices.
    done: Vec<Effect>,
    /// What programs did, by the hashes of their changes.
    done_there: BTreeMap<ChangeHash, Effect>,
    taken: BTreeSet<ChangeHash>,
    /// The next number: above those of control characters, and one character each.
    next: u32,
    actors: u8,
}

impl World {
    fn new() -> Self {
        let mut sites: Vec<Site> = (1..4).map(Site::new).collect();
        sites[0].office.put(json!({
            "stock": 1, "notes": "\u{1000}", "lines": [0x1001], "price": 0x1002, "label": "4099",
            "address": {"city": "4100"},
        }));
        meet(&mut sites);
        let editors = (0..2).map(|n| sites[0].lend(&[b'e', n])).collect();
        let first = there(&sites[0].office.automerge());
        let done = vec![Effect::of(&There::default(), &first)];
        let (done_there, taken) = (BTreeMap::new(), BTreeSet::new());
        Self { sites, editors, done, done_there, taken, next: 0x1100, actors: 10 }
    }

    fn step(&mut self, step: &ForeignStep) {
        match step {
            ForeignStep::Edit(site, write) => self.edit(*site, write),
            ForeignStep::Delete(site) => {
                let _ = self.sites[*site].office.try_edit(&Edit::Delete);
            }
            ForeignStep::Undelete(site) => {
                let _ = self.sites[*site].office.try_edit(&Edit::Undelete);
            }
            ForeignStep::Pull(to, from) => {
                let from = self.sites[*from].clone();
                self.sites[*to].pull(&from);
            }
            ForeignStep::Lend { to, from } => {
                self.actors += 1;
                self.editors[*to] = self.sites[*from].lend(&[b'e', self.actors]);
            }
            ForeignStep::Write(editor, write) => self.write(*editor, write),
            ForeignStep::Merge(to, from) if to != from => {
                let mut from = self.editors[*from].clone();
                self.editors[*to].merge(&mut from).unwrap();
            }
            ForeignStep::Merge(_, _) => {}
            ForeignStep::Take { site, from } => self.take(*site, *from),
        }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn edit(&mut self, site: usize, write: &Write) {
        let number = self.number();
        let office = &mut self.sites[site].office;
        let before = there(&office.automerge());
        let json = Json::Object(super::support::fields(office.json()));
        let lines = json["lines"].as_array().cloned().unwrap_or_default();
        let notes: Vec<char> = json["notes"].as_str().unwrap_or_default().chars().collect();
        let with = |change: &dyn Fn(&mut Vec<Json>)| {
            let mut lines = lines.clone();
            change(&mut lines);
            json!({"lines": lines})
        };
        let typed = |change: &dyn Fn(&mut Vec<char>)| {
            let mut notes = notes.clone();
            change(&mut notes);
            json!({"notes": notes.into_iter().collect::<String>()})
        };
        let patch = match write {
            Write::Price => json!({"price": number}),
            Write::Free => json!({"free": number}),
            Write::City => json!({"address": {"city": number.to_string()}}),
            Write::Stock(by) => json!({"stock": {"$inc": by}}),
            Write::Insert(at) => {
                with(&|lines| lines.insert(at.index(lines.len() + 1), json!(number)))
            }
            Write::Set(at) if !lines.is_empty() => {
                with(&|lines| *at.get_mut(lines) = json!(number))
            }
            Write::Remove(at) if !lines.is_empty() => {
                with(&|lines| drop(lines.remove(at.index(lines.len()))))
            }
            Write::Type(at) => typed(&|notes| {
                notes.insert(at.index(notes.len() + 1), char::from_u32(number).unwrap());
            }),
            Write::Erase(at) if !notes.is_empty() => typed(&|notes| {
                notes.remove(at.index(notes.len()));
            }),
            Write::Set(_) | Write::Remove(_) | Write::Erase(_) => return,
        };
        office.merge(patch);
        assert_like_automerge(office);
        self.done.push(Effect::of(&before, &there(&office.automerge())));
    }

    fn write(&mut self, editor: usize, write: &Write) {
        let number = self.number();
        let doc = &mut self.editors[editor];
        let before = there(doc);
        let shown = |doc: &AutoCommit, at: &ObjId, field: &str| {
            doc.get(at, field).unwrap().map(|(_, id)| id)
        };
        let lines = shown(doc, &ROOT, "lines").unwrap();
        let notes = shown(doc, &ROOT, "notes").unwrap();
        let (length, typed) = (doc.length(&lines), doc.length(&notes));
        match write {
            Write::Price => doc.put(ROOT, "price", i64::from(number)).unwrap(),
            Write::Free => {
                let map = doc.put_object(ROOT, format!("map {number}"), ObjType::Map).unwrap();
                doc.put(&map, "n", i64::from(number)).unwrap();
            }
            Write::City => {
                // As a text, which stands for a string.
                let address = shown(doc, &ROOT, "address").unwrap();
                let city = doc.put_object(&address, "city", ObjType::Text).unwrap();
                // One character is a number here.
                doc.splice_text(&city, 0, 0, &char::from_u32(number).unwrap().to_string()).unwrap();
            }
            Write::Stock(by) => doc.increment(ROOT, "stock", *by).unwrap(),
            Write::Insert(at) => {
                doc.insert(&lines, at.index(length + 1), i64::from(number)).unwrap();
            }
            Write::Set(at) if length > 0 => {
                doc.put(&lines, at.index(length), i64::from(number)).unwrap();
            }
            Write::Remove(at) if length > 0 => doc.delete(&lines, at.index(length)).unwrap(),
            Write::Type(at) => {
                let text = char::from_u32(number).unwrap().to_string();
                doc.splice_text(&notes, at.index(typed + 1), 0, &text).unwrap();
            }
            Write::Erase(at) if typed > 0 => {
                doc.splice_text(&notes, at.index(typed), 1, "").unwrap();
            }
            Write::Set(_) | Write::Remove(_) | Write::Erase(_) => return,
        }
        let Some(hash) = doc.commit() else { return };
        let effect = Effect::of(&before, &there(doc));
        self.done_there.insert(hash, effect);
    }

    /// An office takes in what a program has, once it knows what the others have taken in: two that do so apart from each
    /// other take the same edits in twice.
    fn take(&mut self, site: usize, from: usize) {
        let others = self.sites.clone();
        others.iter().for_each(|other| self.sites[site].pull(other));
        let bytes = self.editors[from].save();
        match self.sites[site].take(&bytes, false) {
            Ok(_) => {
                let hashes = self.editors[from].get_changes(&[]).into_iter().map(|it| it.hash());
                self.taken.extend(hashes);
            }
            Err(DocumentRefused::Doubled { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_programs_write_merges_as_if_they_were_offices(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        meet(&mut world.sites);
        let there_in_the_end: Vec<There> =
            world.sites.iter().map(|site| there(&site.office.automerge())).collect();
        let taken = world.done_there.iter().filter(|(hash, _)| world.taken.contains(*hash));
        let expected = sum(world.done.iter().chain(taken.map(|(_, effect)| effect)));
        for found in &there_in_the_end {
            prop_assert_eq!(found, &expected);
        }
    }

    /// What offices wrote before any of them took something in, and what programs wrote, is all there is: then there is a
    /// document of Automerge's own with the same changes.
    #[test]
    fn the_record_holds_what_automerges_own_merge_holds(
        before in proptest::collection::vec((0usize..3, write()), 0..10),
        pulls in proptest::collection::vec((0usize..3, 0usize..3), 0..4),
        lent in (0usize..3, 0usize..3),
        writes in proptest::collection::vec((0usize..2, write(), any::<bool>()), 1..15),
        meanwhile in proptest::collection::vec((0usize..3, write()), 0..10),
        takes in (0usize..3, 0usize..3),
    ) {
        let mut world = World::new();
        before.iter().for_each(|(site, write)| world.step(&ForeignStep::Edit(*site, write.clone())));
        pulls.iter().for_each(|(to, from)| world.step(&ForeignStep::Pull(*to, *from)));
        world.step(&ForeignStep::Lend { to: 0, from: lent.0 });
        world.step(&ForeignStep::Lend { to: 1, from: lent.1 });
        for (editor, write, merges) in &writes {
            // A text that stands for a string is one of the exceptions that the schema makes.
            let write = if matches!(write, Write::City) { &Write::Price } else { write };
            world.step(&ForeignStep::Write(*editor, write.clone()));
            if *merges {
                world.step(&ForeignStep::Merge(*editor, 1 - editor));
            }
        }
        meanwhile.iter().for_each(|(site, write)| world.step(&ForeignStep::Edit(*site, write.clone())));
        let mut own = Automerge::new().with_actor(ActorId::from(b"own"));
        for site in &world.sites {
            own.merge(&mut site.office.automerge()).unwrap();
        }
        for editor in &mut world.editors {
            own.merge(&mut editor.document().clone()).unwrap();
        }
        world.take(takes.0, 0);
        world.take(takes.1, 1);
        meet(&mut world.sites);
        for site in &world.sites {
            let found = contents(&site.office.automerge(), &ROOT);
            prop_assert_eq!(found, contents(&own, &ROOT));
        }
    }
}
