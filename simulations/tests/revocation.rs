//! Who is shut out, by whom, and what of it counts: the same at every office, whatever it learnt first.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::ids::Author;
use branchline_crdt::membership::Role;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{Decision, DecisionError, Notice, WriteError};
use branchline_simulations::World;
use branchline_simulations::check::confinement::is_refusal;
use branchline_simulations::world::{Ending, Observation, Receiver};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const SETTLE_MS: u64 = 60_000;

fn put(value: Json) -> Edit {
    match value {
        Json::Object(fields) => Edit::Put(fields),
        other => panic!("{other} is no object"),
    }
}

/// Offices of a network in the order of their seniority, all linked. The first founded it.
fn offices(seed: u64, roles: &[Role]) -> World {
    let mut world = World::found(seed, &["head"]);
    for (number, role) in roles.iter().enumerate() {
        let office = world.add_office(&format!("office-{}", number + 1));
        world.link(0, office);
        world.join(0, office, *role);
        world.unlink(0, office);
    }
    world.link_all(&(0..=roles.len()).collect::<Vec<_>>());
    world.run_ms(SETTLE_MS);
    assert!(world.in_step());
    world
}

/// Only offices of one group are linked from now on.
fn part(world: &mut World, groups: &[&[usize]]) {
    for office in 0..world.office_count() {
        world.unlink_all(office);
    }
    for group in groups {
        world.link_all(group);
    }
    world.run_ms(100);
}

fn write(world: &mut World, office: usize, id: &str) {
    world.write(office, "products", id, put(json!({"by": office}))).unwrap();
}

fn shows(world: &World, office: usize, id: &str) -> bool {
    world.view(office, "products", id).is_some()
}

fn revoke(world: &mut World, by: usize, office: usize) -> Result<(), DecisionError> {
    let site = world.site_id(office);
    world.decide(by, Decision::Revoke { site }).unwrap()
}

fn is_member(world: &World, at: usize, office: usize) -> bool {
    let members = world.replica(at).unwrap().realms().members().unwrap();
    members.get(&world.site_id(office)).is_some()
}

fn revoked_by(world: &World, office: usize) -> Option<usize> {
    let by = world.replica(office).unwrap().realms().revoked_by()?;
    (0..world.office_count()).find(|office| world.site_id(*office) == by)
}

#[track_caller]
fn assert_equal(world: &World, offices: &[usize]) {
    let network = world.network().unwrap();
    let state = |office: usize| {
        let replica = world.replica(office).unwrap();
        let frontier = |space| format!("{:?}", replica.realms().frontier(space).unwrap());
        let members = replica.realms().members().unwrap();
        (
            frontier(network.membership_space()),
            frontier(network.main_space()),
            format!("{:?} {:?}", members.all(), members.revoked()),
            world.digest(office),
        )
    };
    for office in &offices[1..] {
        assert_eq!(state(*office), state(offices[0]), "office {office}");
    }
}

const WRITERS: [Role; 3] = [Role::Writer; 3];

#[test]
fn what_a_revoked_site_writes_later_shows_nowhere_else() {
    let mut world = offices(1, &WRITERS);
    write(&mut world, 3, "before");
    world.run_ms(1_000);
    part(&mut world, &[&[0, 1, 2], &[3]]);
    write(&mut world, 3, "after");
    revoke(&mut world, 0, 3).unwrap();
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2]);
    for office in 0..3 {
        assert!(shows(&world, office, "before") && !shows(&world, office, "after"), "{office}");
        assert!(!is_member(&world, office, 3));
    }
    // It is informed, keeps what it has, and writes no more.
    assert_eq!(revoked_by(&world, 3), Some(0));
    assert!(shows(&world, 3, "after"));
    let refused = world.write(3, "products", "later", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::Revoked { .. })), "{refused:?}");
    assert!(world.peers(3).is_empty());
    let reported = |notice: &Notice| matches!(notice, Notice::Revoked { .. });
    assert!(world.notices(3).iter().any(reported));
    // It knows so after a restart too, before anyone could say it again.
    part(&mut world, &[&[0, 1, 2], &[3]]);
    world.stop(3, Ending::Orderly);
    world.start(3);
    assert_eq!(revoked_by(&world, 3), Some(0));
    let refused = world.write(3, "products", "later", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::Revoked { .. })), "{refused:?}");
}

#[test]
fn a_revoked_site_learns_nothing_of_what_comes_after() {
    let mut world = offices(2, &WRITERS);
    part(&mut world, &[&[0, 1, 2], &[3]]);
    revoke(&mut world, 0, 3).unwrap();
    write(&mut world, 1, "secret");
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    assert!(!shows(&world, 3, "secret"));
    let network = world.network().unwrap();
    let membership = network.membership_space();
    let held = world.replica(3).unwrap().realms().frontier(membership).unwrap();
    assert_ne!(Some(held), world.replica(0).unwrap().realms().frontier(membership));
}

#[test]
fn what_a_member_took_in_before_it_knew_counts_everywhere() {
    let mut world = offices(3, &WRITERS);
    // The others know that 3 is out; 1 does not, and works on with it.
    part(&mut world, &[&[0, 2], &[1, 3]]);
    revoke(&mut world, 0, 3).unwrap();
    write(&mut world, 3, "seen");
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, 1, "seen") && !shows(&world, 0, "seen"));
    part(&mut world, &[&[0, 1, 2], &[3]]);
    write(&mut world, 3, "unseen");
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2]);
    for office in 0..3 {
        assert!(shows(&world, office, "seen") && !shows(&world, office, "unseen"), "{office}");
        assert!(!is_member(&world, office, 3));
    }
}

#[test]
fn what_one_vouched_for_counts_although_it_is_out_by_now() {
    let mut world = offices(0, &[Role::Admin, Role::Admin, Role::Writer, Role::Writer]);
    part(&mut world, &[&[0, 1, 2], &[3, 4]]);
    revoke(&mut world, 0, 3).unwrap();
    write(&mut world, 3, "seen");
    world.run_ms(SETTLE_MS);
    // Four vouches for it, two takes its word, and one shuts four out without having heard of either.
    part(&mut world, &[&[0, 1], &[2, 4]]);
    world.run_ms(SETTLE_MS);
    assert!(shows(&world, 2, "seen"));
    revoke(&mut world, 1, 4).unwrap();
    world.run_ms(SETTLE_MS);
    part(&mut world, &[&[0, 1, 2, 3, 4]]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2]);
    assert!(shows(&world, 0, "seen") && !is_member(&world, 0, 4));
}

#[test]
fn of_two_admins_who_revoke_each_other_the_senior_stays() {
    let roles = [Role::Admin, Role::Admin, Role::Writer];
    let mut world = offices(4, &roles);
    part(&mut world, &[&[0, 1], &[2, 3]]);
    revoke(&mut world, 1, 2).unwrap();
    let refused = revoke(&mut world, 2, 1);
    assert!(matches!(refused, Err(DecisionError::Senior { .. })), "{refused:?}");
    // Each also shuts out a site that both are senior to.
    revoke(&mut world, 2, 3).unwrap();
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    // Nobody but 3 itself has seen what 2 decided before 2 was out.
    assert!(is_member(&world, 0, 1) && !is_member(&world, 0, 2));
    assert!(is_member(&world, 0, 3), "the decision of a revoked admin counts");
    write(&mut world, 3, "back");
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 3]);
    assert!(shows(&world, 0, "back"));
    assert_eq!(revoked_by(&world, 3), None);
}

#[test]
fn a_decision_counts_that_a_member_took_in_before_its_admin_was_out() {
    let roles = [Role::Admin, Role::Admin, Role::Writer, Role::Writer];
    let mut world = offices(5, &roles);
    part(&mut world, &[&[0, 1], &[2, 3, 4]]);
    revoke(&mut world, 1, 2).unwrap();
    revoke(&mut world, 2, 3).unwrap();
    world.run_ms(SETTLE_MS);
    assert!(!is_member(&world, 4, 3));
    world.link_all(&[0, 1, 2, 3, 4]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 4]);
    assert!(!is_member(&world, 0, 2) && !is_member(&world, 0, 3));
}

#[test]
fn whom_a_revoked_admin_lets_in_stays_out_unless_a_member_knew() {
    let mut world = offices(6, &[Role::Admin, Role::Writer]);
    let (late, later) = (world.add_office("late"), world.add_office("later"));
    part(&mut world, &[&[0], &[1, 2]]);
    revoke(&mut world, 0, 1).unwrap();
    // The first newcomer is known to a member before that member hears of the revocation, the second to none.
    world.link(1, late);
    world.join(1, late, Role::Writer);
    world.run_ms(SETTLE_MS);
    assert!(is_member(&world, 2, late));
    part(&mut world, &[&[0, 2], &[1]]);
    world.link(1, later);
    world.join(1, later, Role::Writer);
    write(&mut world, later, "by-later");
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 2, late]);
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, late, later]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 2, late]);
    assert!(is_member(&world, 0, late));
    assert!(!is_member(&world, 0, later) && !is_member(&world, 2, later));
    assert!((0..3).all(|office| !shows(&world, office, "by-later") || office == 1));
}

#[test]
fn a_ticket_of_a_revoked_admin_serves_nobody() {
    let mut world = offices(7, &[Role::Admin, Role::Writer]);
    let late = world.add_office("late");
    world.unlink_all(1);
    world.unlink_all(late);
    // Made while the admin was one, taken up when it is none any more.
    world.invite(1, late, Role::Writer);
    revoke(&mut world, 0, 1).unwrap();
    world.run_ms(SETTLE_MS);
    world.link(1, late);
    world.link(0, 1);
    world.run_ms(SETTLE_MS);
    world.link(0, late);
    world.run_ms(SETTLE_MS);
    assert!(!is_member(&world, 0, late) && !is_member(&world, 0, 1));
}

#[test]
fn decisions_that_cannot_be_made_say_why() {
    let roles = [Role::Admin, Role::Writer];
    let mut world = offices(8, &roles);
    let stranger = world.add_office("stranger");
    let refused = |world: &mut World, by, office| revoke(world, by, office).unwrap_err();
    assert!(matches!(refused(&mut world, 0, 0), DecisionError::Oneself));
    assert!(matches!(refused(&mut world, 1, 0), DecisionError::Senior { .. }));
    assert!(matches!(refused(&mut world, 2, 1), DecisionError::Role { role: Role::Writer }));
    assert!(matches!(refused(&mut world, 0, stranger), DecisionError::UnknownSite { .. }));
    assert!(matches!(refused(&mut world, stranger, 0), DecisionError::NoMember));
    revoke(&mut world, 0, 1).unwrap();
    assert!(matches!(refused(&mut world, 0, 1), DecisionError::AlreadyRevoked { .. }));
    assert!(matches!(refused(&mut world, 0, 0), DecisionError::LastAdmin));
    let (site, name) = (world.site_id(2), "head".to_owned());
    let taken = world.decide(0, Decision::Rename { site, name }).unwrap();
    assert!(matches!(taken, Err(DecisionError::NameTaken { .. })));
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 2]);
}

#[test]
fn a_reader_writes_no_more_and_what_it_wrote_unaware_counts() {
    let mut world = offices(9, &WRITERS);
    part(&mut world, &[&[0, 1], &[2, 3]]);
    let site = world.site_id(3);
    world.decide(0, Decision::ChangeRole { site, role: Role::Reader }).unwrap().unwrap();
    write(&mut world, 3, "unaware");
    world.run_ms(SETTLE_MS);
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2, 3]);
    assert!(shows(&world, 0, "unaware"));
    let refused = world.write(3, "products", "aware", put(json!({"a": 1})));
    assert!(matches!(refused, Err(WriteError::Role { role: Role::Reader, .. })), "{refused:?}");
    world.decide(0, Decision::ChangeRole { site, role: Role::Admin }).unwrap().unwrap();
    world.run_ms(SETTLE_MS);
    world.write(3, "_schema", "tills", put(json!({"cash": "counter"}))).unwrap();
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2, 3]);
    assert!(world.view(1, "_schema", "tills").is_some());
}

#[test]
fn a_restart_and_a_rebuild_know_who_is_out() {
    let mut world = offices(10, &WRITERS);
    part(&mut world, &[&[0, 2], &[1, 3]]);
    revoke(&mut world, 0, 3).unwrap();
    write(&mut world, 3, "seen");
    world.run_ms(SETTLE_MS);
    part(&mut world, &[&[0, 1, 2], &[3]]);
    world.run_ms(SETTLE_MS);
    let before = world.digest(1);
    for tables_are_lost in [false, true] {
        world.restart(1, tables_are_lost);
        assert!(!is_member(&world, 1, 3) && world.digest(1) == before);
    }
    world.link_all(&[0, 1, 2, 3]);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2]);
}

/// What happens in a random history.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Revoke(usize, usize),
    ChangeRole(usize, usize, Role),
    /// From now on two groups: the offices whose bit is set, and the others.
    Part(u8),
    Pass(u64),
}

const OFFICES: usize = 6;

fn step() -> impl Strategy<Value = Step> {
    let office = 0..OFFICES;
    let role = prop_oneof![Just(Role::Reader), Just(Role::Writer), Just(Role::Admin)];
    prop_oneof![
        6 => office.clone().prop_map(Step::Write),
        2 => (0..4_usize, office.clone()).prop_map(|(by, of)| Step::Revoke(by, of)),
        1 => (0..4_usize, office, role).prop_map(|(by, of, role)| Step::ChangeRole(by, of, role)),
        3 => any::<u8>().prop_map(Step::Part),
        4 => (1..15_000_u64).prop_map(Step::Pass),
    ]
}

/// How far an office holds each log of the records.
fn held(world: &World, office: usize) -> BTreeMap<Author, u64> {
    let replica = world.replica(office).unwrap();
    let frontier = replica.realms().frontier(world.network().unwrap().main_space()).unwrap();
    frontier.tips().map(|tip| (tip.author, tip.seq)).collect()
}

/// Whatever but refusals was sent to an office that its sender knew to be out at that moment, since it was asked last.
fn told_to_who_is_out(world: &mut World) -> Vec<String> {
    let sent = world.take_observations().into_iter().filter_map(|observation| match observation {
        Observation::Sent { from, to, message, receiver: Receiver::Revoked, .. } => {
            (!is_refusal(&message))
                .then(|| format!("{from} reported {to}, which was out: {message:?}"))
        }
        _ => None,
    });
    sent.collect()
}

/// Plays a history, lets all come together, and compares the members.
fn history(seed: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let roles = [Role::Admin, Role::Admin, Role::Admin, Role::Writer, Role::Writer];
    let mut world = offices(seed, &roles);
    let mut seen = vec![BTreeMap::new(); OFFICES];
    world.observe();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            // Whether it may is for the replica to say.
            Step::Write(office) => {
                let _ = world.write(
                    office,
                    "products",
                    &format!("{office}-{}", number % 5),
                    put(json!({"at": number})),
                );
            }
            Step::Revoke(by, office) => {
                let _ = revoke(&mut world, by, office);
            }
            Step::ChangeRole(by, office, role) => {
                let site = world.site_id(office);
                let _ = world.decide(by, Decision::ChangeRole { site, role });
            }
            Step::Part(bits) => {
                let (one, other): (Vec<_>, Vec<_>) =
                    (0..OFFICES).partition(|office| bits >> office & 1 == 1);
                part(&mut world, &[&one, &other]);
            }
            Step::Pass(ms) => world.run_ms(ms),
        }
        // Nothing that shows at an office is taken back.
        for (office, before) in seen.iter_mut().enumerate() {
            let now = held(&world, office);
            prop_assert!(
                before.iter().all(|(log, seq)| now.get(log) >= Some(seq)),
                "office {}",
                office
            );
            *before = now;
        }
    }
    part(&mut world, &[&(0..OFFICES).collect::<Vec<_>>()]);
    world.run_ms(3 * SETTLE_MS);
    let members: Vec<_> = (0..OFFICES).filter(|office| is_member(&world, 0, *office)).collect();
    prop_assert!(members.contains(&0));
    assert_equal(&world, &members);
    let out: BTreeSet<_> = (0..OFFICES).filter(|office| !members.contains(office)).collect();
    prop_assert!(out.iter().all(|office| revoked_by(&world, *office).is_some()), "{:?}", out);
    prop_assert_eq!(told_to_who_is_out(&mut world), Vec::<String>::new());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("BRANCHLINE_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(24)
    ))]

    #[test]
    fn members_agree_on_members_and_records_whatever_was_decided_apart(
        seed in 0..1_000_u64,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        history(seed, steps)?;
    }
}

/// Head demotes office 3 while that one revokes office 4 without knowing. Where head hears of the revocation first it does
/// not count, and what office 4 writes then is taken in; then office 3's own word comes that it revoked before it knew.
#[test]
fn what_came_before_a_revocation_came_to_count_stays() {
    let steps = [
        Step::Write(2),
        Step::Pass(4_589),
        Step::Write(2),
        Step::Write(2),
        Step::Write(0),
        Step::Pass(2_518),
        Step::Revoke(3, 4),
        Step::ChangeRole(0, 3, Role::Writer),
        Step::Write(4),
        Step::Pass(9_302),
    ];
    for seed in [133, 1, 2, 3] {
        history(seed, steps.to_vec()).unwrap();
    }
}

/// Two offices are revoked apart, and meet again.
#[test]
fn of_two_offices_that_are_shut_out_apart_neither_tells_the_other_anything() {
    let steps = [
        Step::Revoke(3, 4),
        Step::Part(24),
        Step::Part(136),
        Step::Revoke(0, 5),
        Step::Pass(1_014),
    ];
    for seed in [578, 1, 2, 3] {
        history(seed, steps.to_vec()).unwrap();
    }
}

/// Head shuts two offices out while it is alone with one that hears of both decisions in one answer later on. What that one
/// writes down between the two, and asks its neighbours for, reaches neither.
#[test]
fn who_hears_of_two_revocations_at_once_tells_neither_site_anything_in_between() {
    let mut world = offices(4, &[Role::Admin, Role::Writer, Role::Writer, Role::Writer]);
    part(&mut world, &[&[0], &[1, 2, 3, 4]]);
    for office in [3, 4] {
        revoke(&mut world, 0, office).unwrap();
        // What was held of them then is less than what the others hold, who vouch for the rest.
        write(&mut world, office, &format!("late-{office}"));
    }
    world.run_ms(SETTLE_MS);
    world.observe();
    world.take_observations();
    world.link(0, 1);
    world.run_ms(SETTLE_MS);
    assert_equal(&world, &[0, 1, 2]);
    assert!(shows(&world, 0, "late-3") && shows(&world, 0, "late-4"));
    assert_eq!(told_to_who_is_out(&mut world), Vec::<String>::new());
}
