//! Members that lie.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, Incarnation, RealmId, SiteKey};
use branchline_crdt::inspect::why::{self, Reason};
use branchline_crdt::log::entry::{Body, Draft, Entry, RecordWrite, Transaction};
use branchline_crdt::membership::OpenTicket;
use branchline_crdt::protocol::Gossip;
use branchline_crdt::record::{ActorBytes, Document, Edit, RecordChange, Value};
use branchline_crdt::replica::{Decision, Input, Notice};
use branchline_simulations::World;
use branchline_simulations::hostile::{draft, with_payload};
use branchline_simulations::store::SimulatedStore;
use serde_json::{Value as Json, json};

const SETTLE_MS: u64 = 60_000;

fn put(value: Json) -> Edit {
    match value {
        Json::Object(map) => Edit::Put(map),
        other => panic!("{other} is no object"),
    }
}

/// Head, north and south, linked to each other, in step.
fn offices() -> World {
    let mut world = World::new(9, &["head", "north", "south"]);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.link(a, b);
    }
    world.write(0, "products", "tea", put(json!({"price": 3}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    world
}

fn part(world: &mut World) {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.unlink(a, b);
    }
}

fn join(world: &mut World) {
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.link(a, b);
    }
    world.run_ms(SETTLE_MS);
}

/// An entry as the holder of `key` may sign it, with one record written in it.
fn forge(network: RealmId, key: &SiteKey, author: Author, id: &str, value: i64) -> Entry {
    let mut document = Document::empty();
    let edit = put(json!({"value": value}));
    let change = document.edit(ActorBytes(author.actor()), 0, &edit, None).unwrap().unwrap().change;
    forge_change(network, key, author, id, change)
}

fn forge_change(
    network: RealmId,
    key: &SiteKey,
    author: Author,
    id: &str,
    change: RecordChange,
) -> Entry {
    draft(network, author).sign(&body([(id, change)]), key)
}

/// One transaction for each change.
fn body<const N: usize>(changes: [(&str, RecordChange); N]) -> Body {
    let transactions = changes.map(|(id, change)| {
        let (collection, id) = ("products".to_owned(), id.to_owned());
        Transaction { origin: None, changes: vec![RecordWrite { collection, id, change }] }
    });
    Body::Transactions(transactions.to_vec())
}

fn hand(world: &mut World, office: usize, from: usize, entry: &Entry) {
    let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
    let from = world.site_id(from);
    world.input(office, Input::Gossip { from, token: 1 << 40, data });
}

fn refusals(world: &World, office: usize) -> Vec<String> {
    let notices = world.notices(office).iter();
    notices
        .filter_map(|notice| match notice {
            Notice::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .collect()
}

fn author(world: &World, office: usize) -> Author {
    Author { site: world.site_id(office), incarnation: Incarnation([9; 8]) }
}

#[test]
fn one_number_signed_twice_ends_equal_everywhere_and_is_told() {
    for values in [(1, 2), (2, 1), (3, 4), (4, 3)] {
        let mut world = offices();
        let network = world.network().unwrap();
        let liar = author(&world, 2);
        let key = world.key(2).clone();
        part(&mut world);
        let entries = [values.0, values.1].map(|v| forge(network, &key, liar, "x", v));
        hand(&mut world, 0, 2, &entries[0]);
        hand(&mut world, 1, 2, &entries[1]);
        assert_ne!(world.digest(0), world.digest(1));
        // North builds on what it was given, before it learns of the lie.
        world.write(1, "products", "rice", put(json!({"price": 9}))).unwrap();
        join(&mut world);
        assert!(world.in_step());
        assert_eq!(world.digest(0), world.digest(1));
        assert_eq!(world.digest(0), world.digest(2));
        for office in 0..3 {
            let view = world.view(office, "products", "x").unwrap();
            let conflict = view.conflicts.iter().find(|conflict| conflict.path == "value").unwrap();
            let mut found: Vec<_> = conflict.values.iter().map(|it| it.value.clone()).collect();
            found.sort_by_key(|value| *value == Value::Int(values.1));
            assert_eq!(found, [values.0, values.1].map(Value::Int), "office {office}");
            assert_eq!(
                view.fields["value"],
                world.view(0, "products", "x").unwrap().fields["value"]
            );
            let price = &world.view(office, "products", "rice").unwrap().fields["price"];
            assert_eq!(*price, Value::Int(9), "an honest office's entry was lost");
            let reported = world.notices(office).iter().any(
                |notice| matches!(notice, Notice::Fork { author, seq: 1, .. } if *author == liar),
            );
            assert!(reported, "office {office} was not informed");
        }
        // All other logs carry on, and the proof survives a rebuild.
        let before = world.digest(1);
        world.restart(1, true);
        assert_eq!(world.digest(1), before);
        world.write(2, "products", "y", put(json!({"a": 1}))).unwrap();
        world.run_ms(SETTLE_MS);
        assert!(world.in_step() && world.view(1, "products", "y").is_some());
    }
}

#[test]
fn three_entries_under_one_number_end_equal_everywhere() {
    let mut world = offices();
    let network = world.network().unwrap();
    let liar = author(&world, 2);
    let key = world.key(2).clone();
    let mut entries = [1, 2, 3].map(|value| forge(network, &key, liar, "x", value));
    entries.sort_by_key(|entry| entry.hash);
    part(&mut world);
    // Head learns of the two higher ones, north of the lowest and the highest.
    hand(&mut world, 0, 2, &entries[2]);
    hand(&mut world, 0, 2, &entries[1]);
    hand(&mut world, 1, 2, &entries[2]);
    hand(&mut world, 1, 2, &entries[0]);
    join(&mut world);
    assert!(world.in_step());
    let views = [0, 1, 2].map(|office| world.view(office, "products", "x").unwrap());
    assert_eq!(views[0], views[1]);
    assert_eq!(views[1], views[2]);
    assert_eq!(world.digest(0), world.digest(1));
}

/// The attack: an empty entry under a number that was used long ago, by whose hash all that followed was once dropped.
#[test]
fn a_number_signed_again_long_after_takes_nothing_of_others() {
    let mut world = offices();
    let network = world.network().unwrap();
    let liar = author(&world, 2);
    let key = world.key(2).clone();
    let first = forge(network, &key, liar, "x", 1);
    hand(&mut world, 0, 2, &first);
    world.run_ms(SETTLE_MS);
    // Both build on it, head by hundreds of writes in one transaction after the other.
    world.write(1, "products", "x", put(json!({"value": 2, "by": "north"}))).unwrap();
    for number in 0..200 {
        let fields = json!({"price": number, "because": "x"});
        world.write(0, "products", &format!("sale-{number}"), put(fields)).unwrap();
    }
    world.write(0, "products", "x", put(json!({"value": 3, "by": "head"}))).unwrap();
    world.run_ms(SETTLE_MS);
    let second = (0..).map(|time_ms| Draft { time_ms, ..draft(network, liar) });
    let second = second.map(|draft| draft.sign(&Body::Transactions(Vec::new()), &key));
    let second = second.into_iter().find(|entry| entry.hash < first.hash).unwrap();
    hand(&mut world, 1, 2, &second);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    for office in 0..3 {
        assert_eq!(world.replica(office).unwrap().status().forks, [liar], "office {office}");
        let void = |notice: &Notice| matches!(notice, Notice::Void { .. });
        assert!(!world.notices(office).iter().any(void), "office {office}");
        let view = world.view(office, "products", "x").unwrap();
        let shown = &view.fields["by"];
        assert!(
            [Value::Str("head".to_owned()), Value::Str("north".to_owned())].contains(shown),
            "{shown:?}"
        );
        assert!((0..200).all(|n| world.view(office, "products", &format!("sale-{n}")).is_some()));
        assert_eq!(world.digest(office), world.digest(0));
    }
    let before = world.digest(1);
    world.restart(1, true);
    assert_eq!(world.digest(1), before);
}

#[test]
fn what_is_built_on_a_void_change_is_void_and_not_awaited() {
    let mut world = offices();
    let network = world.network().unwrap();
    let liar = author(&world, 2);
    let key = world.key(2).clone();
    let actor = ActorBytes(liar.actor());
    let mut document = Document::empty();
    let mut edit = |value: i64| {
        document.edit(actor, 0, &put(json!({"value": value})), None).unwrap().unwrap().change
    };
    let (first, second) = (edit(1), edit(2));
    // The first entry is void for its other change; the second builds on it; the third stands for itself.
    let garbage = RecordChange { genesis: vec![], body: vec![1, 2, 3] };
    let bad = draft(network, liar).sign(&body([("x", first), ("bad", garbage)]), &key);
    let next = Draft { seq: 2, previous: bad.hash, ..draft(network, liar) };
    let next = next.sign(&body([("x", second)]), &key);
    let change =
        Document::empty().edit(actor, 0, &put(json!({"v": 1})), None).unwrap().unwrap().change;
    let good = Draft { seq: 3, previous: next.hash, ..draft(network, liar) };
    let good = good.sign(&body([("good", change)]), &key);
    for entry in [&bad, &next, &good] {
        hand(&mut world, 0, 2, entry);
    }
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    for office in 0..3 {
        assert!(world.view(office, "products", "x").is_none());
        assert!(world.view(office, "products", "good").is_some(), "office {office}");
    }
    let before = world.digest(1);
    world.restart(1, true);
    assert_eq!(world.digest(1), before);
}

#[test]
fn of_two_who_took_up_one_ticket_on_both_sides_of_a_cut_an_admin_decides_and_nothing_is_lost() {
    let mut world = offices();
    let (first, second) = (world.add_office("first"), world.add_office("second"));
    let replica = world.replica(0).unwrap();
    let role = branchline_crdt::membership::Role::Writer;
    let mut ticket = replica.invite(role, i64::MAX, SiteKey::from_seed([6; 32]), vec![]).unwrap();
    part(&mut world);
    for (inviter, office) in [(0, first), (1, second)] {
        ticket.inviter = world.site_id(inviter);
        world.link(inviter, office);
        world.input(office, Input::Join(Box::new(ticket.clone())));
        world.run_ms(3_000);
        world.write(office, "products", &format!("by-{office}"), put(json!({"a": 1}))).unwrap();
        world.run_ms(1_000);
    }
    join(&mut world);
    assert!(world.are_in_step(&[0, 1, 2]));
    let all_show = |world: &World, office| {
        (0..3).all(|at| world.view(at, "products", &format!("by-{office}")).is_some())
    };
    assert!(all_show(&world, first) && all_show(&world, second));
    let members = |world: &World, office: usize| {
        let members = world.replica(office).unwrap().realms().members().unwrap();
        [first, second].map(|office| members.get(&world.site_id(office)).is_some())
    };
    assert!((0..3).all(|at| members(&world, at) == [true, false]), "the issuer's own stands");
    // Nobody syncs with the other one until an admin has decided.
    let site = world.site_id(second);
    assert!(world.replica(0).unwrap().realms().members().unwrap().disputed().contains_key(&site));
    world.write(second, "products", "later", put(json!({"a": 1}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!((0..3).all(|at| world.view(at, "products", "later").is_none()));
    let decision = Decision::ChangeRole { site, role };
    world.decide(0, decision).unwrap().unwrap();
    world.run_ms(SETTLE_MS);
    assert!((0..3).all(|at| members(&world, at) == [true, true]));
    assert!(world.in_step());
    assert!(world.view(0, "products", "later").is_some());
}

#[test]
fn a_ticket_is_withdrawn_by_its_issuer_once_it_has_expired_and_binds_all() {
    let mut world = offices();
    let replica = world.replica(0).unwrap();
    let (role, soon) = (branchline_crdt::membership::Role::Admin, 1_767_225_600_000 + 200_000);
    let ticket = replica.invite(role, soon, SiteKey::from_seed([6; 32]), vec![]).unwrap();
    let open = OpenTicket { grant: ticket.grant.clone(), places: 2, note: "night".to_owned() };
    world.decide(0, Decision::Invite { ticket: Box::new(open) }).unwrap().unwrap();
    world.run_ms(SETTLE_MS);
    let found = |world: &World, at: usize| world.replica(at).unwrap().realms().tickets();
    assert!((0..3).all(|at| found(&world, at)[0].is_open() && found(&world, at)[0].places == 2));
    world.run_ms(240_000);
    let by = Some(world.site_id(0));
    assert!((0..3).all(|at| found(&world, at)[0].withdrawn_by == by), "{:?}", found(&world, 1));
}

#[test]
fn forged_authors_and_signatures_are_refused() {
    let mut world = offices();
    let network = world.network().unwrap();
    let before = world.digest(0);
    let stranger = SiteKey::from_seed([5; 32]);
    let south = author(&world, 2);

    // South's name under another's signature.
    hand(&mut world, 0, 1, &forge(network, &stranger, south, "x", 1));
    assert_eq!(refusals(&world, 0), ["an entry whose signature is not its author's"]);
    // A site that is no member.
    let unknown = Author { site: stranger.site(), incarnation: Incarnation([1; 8]) };
    hand(&mut world, 0, 1, &forge(network, &stranger, unknown, "x", 1));
    // Another network.
    let key = world.key(2).clone();
    hand(&mut world, 0, 1, &forge(RealmId([8; 32]), &key, south, "x", 1));
    assert_eq!(
        refusals(&world, 0)[1],
        "an entry of another network, or of a space that this site does not hold"
    );
    world.run_ms(SETTLE_MS);
    assert_eq!(world.digest(0), before);
    assert!(world.view(0, "products", "x").is_none());
}

#[test]
fn a_bad_change_is_void_everywhere_and_its_log_goes_on() {
    let mut world = offices();
    let network = world.network().unwrap();
    let liar = author(&world, 2);
    let key = world.key(2).clone();
    // A change under an actor that is not the author's.
    let other = Author { incarnation: Incarnation([7; 8]), ..liar };
    let mut document = Document::empty();
    let actor = ActorBytes(other.actor());
    let change = document.edit(actor, 0, &put(json!({"value": 1})), None).unwrap().unwrap().change;
    let entry = forge_change(network, &key, liar, "x", change);
    hand(&mut world, 0, 2, &entry);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    for office in 0..3 {
        assert!(world.view(office, "products", "x").is_none());
        let void =
            |notice: &Notice| matches!(notice, Notice::Void { author, .. } if *author == liar);
        assert!(world.notices(office).iter().any(void), "office {office}");
        let why = |store: &SimulatedStore, _| {
            why::causes(store, network, world.site_id(office), [], &BTreeMap::new(), 1000)
        };
        let causes = world.read(office, why).unwrap().causes;
        let reported = causes[&(Reason::Void, liar.site)].detail.as_deref().unwrap();
        assert!(reported.starts_with("record ") && reported.contains("/x: "), "{reported}");
    }
    let mut document = Document::empty();
    let actor = ActorBytes(liar.actor());
    let change = document.edit(actor, 0, &put(json!({"value": 2})), None).unwrap().unwrap().change;
    let good = Draft { seq: 2, previous: entry.hash, ..draft(network, liar) };
    let good = good.sign(&body([("x", change)]), &key);
    hand(&mut world, 0, 2, &good);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert_eq!(world.view(1, "products", "x").unwrap().fields["value"], Value::Int(2));
}

#[test]
fn a_bad_change_takes_the_rest_of_its_entry_with_it() {
    let mut world = offices();
    let network = world.network().unwrap();
    let liar = author(&world, 2);
    let key = world.key(2).clone();
    let actor = ActorBytes(liar.actor());
    let good =
        Document::empty().edit(actor, 0, &put(json!({"v": 1})), None).unwrap().unwrap().change;
    let garbage = RecordChange { genesis: vec![], body: vec![1, 2, 3] };
    let entry = draft(network, liar).sign(&body([("good", good), ("bad", garbage)]), &key);
    hand(&mut world, 0, 2, &entry);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert!((0..3).all(|office| world.view(office, "products", "good").is_none()));
}

#[test]
fn a_ticket_serves_once() {
    let mut world = offices();
    let (first, second) = (world.add_office("first"), world.add_office("second"));
    let secret = SiteKey::from_seed([6; 32]);
    let replica = world.replica(0).unwrap();
    let wall_ms = i64::MAX;
    let role = branchline_crdt::membership::Role::Writer;
    let ticket = replica.invite(role, wall_ms, secret, vec![]).unwrap();
    for office in [first, second] {
        world.link(0, office);
        world.input(office, Input::Join(Box::new(ticket.clone())));
        world.run_ms(3_000);
    }
    let members = world.replica(0).unwrap().realms().members().unwrap();
    assert!(members.get(&world.site_id(first)).is_some());
    assert!(members.get(&world.site_id(second)).is_none());
    let refused = world.notices(second).iter().any(|notice| {
        matches!(notice, Notice::NotAdmitted { reason, .. } if reason.contains("used before"))
    });
    assert!(refused, "{:?}", world.notices(second));
}

#[test]
fn an_expired_ticket_is_refused_by_both_sides() {
    let mut world = offices();
    let late = world.add_office("late");
    world.link(0, late);
    let replica = world.replica(0).unwrap();
    let role = branchline_crdt::membership::Role::Writer;
    let soon = 1_767_225_600_000 + 70_000;
    let ticket = replica.invite(role, soon, SiteKey::from_seed([6; 32]), vec![]).unwrap();
    assert!(world.replica(late).unwrap().may_join(&ticket, soon + 1).is_err());
    // The newcomer's clock is not to be trusted: presented by hand, after its time.
    world.unlink(0, late);
    world.input(late, Input::Join(Box::new(ticket)));
    world.run_ms(120_000);
    world.link(0, late);
    world.run_ms(10_000);
    let refused = world.notices(late).iter().any(
        |notice| matches!(notice, Notice::NotAdmitted { reason, .. } if reason.contains("expired")),
    );
    assert!(refused, "{:?}", world.notices(late));
}

#[test]
fn an_entry_of_a_later_format_is_held_and_forwarded_and_blocks_nobody() {
    let mut world = offices();
    let network = world.network().unwrap();
    let newer = author(&world, 2);
    let key = world.key(2).clone();
    let payload = b"something that is not known yet".to_vec();
    let entry = Entry::decode(&with_payload(network, &key, newer, 2, payload)).unwrap();
    world.unlink(1, 0);
    world.unlink(1, 2);
    hand(&mut world, 0, 2, &entry);
    world.run_ms(1_000);
    world.link(1, 0);
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    assert_eq!(world.replica(1).unwrap().status().entries_unapplied, 1);
    // What the others write does not wait for it.
    world.write(0, "products", "x", put(json!({"a": 1}))).unwrap();
    world.write(1, "products", "y", put(json!({"a": 1}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    for office in 0..3 {
        assert!(world.view(office, "products", "x").is_some(), "office {office}");
        assert!(world.view(office, "products", "y").is_some(), "office {office}");
    }
    let before = world.digest(0);
    world.restart(0, true);
    assert_eq!(world.digest(0), before);
    assert_eq!(world.replica(0).unwrap().status().entries_unapplied, 1);
}
