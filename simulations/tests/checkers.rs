//! Each checker can fail: for every invariant one thing is done to a run that breaks it, and must be reported as
//! exactly that.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_simulations::invariant::Invariant;
use branchline_simulations::outcome::Outcome;
use branchline_simulations::run_sabotaged;
use branchline_simulations::sabotage::Sabotage;
use branchline_simulations::scenario::Scenario;
use branchline_simulations::trace::NoTrace;

/// A morning in three shops, with a fault.
fn scenario(fault: &str) -> Scenario {
    let text = format!(
        r#"
        about = "A morning in three shops."
        offices = ["head", "north", "south"]
        duration = "90m"
        [topology]
        shape = "mesh"
        [workload]
        writes_per_hour = 24
        [[workload.collection]]
        name = "products"
        records = 8
        mix = {{ registers = 2, counters = 4, text = 1, lists = 1, deletes = 6, transactions = 2 }}
        {fault}
        "#
    );
    Scenario::parse("morning", &text).unwrap()
}

/// South is cut off for a while, so that entries come in bunches.
const CUT: &str =
    "[[fault]]\nkind = \"isolate\"\noffices = [\"south\"]\nat = \"10m\"\nfor = \"40m\"\n";
const LIAR: &str = "[[fault]]\nkind = \"byzantine\"\noffices = [\"south\"]\nacts = [\"equivocation\"]\nat = \"10m\"\n";
const CRASHES: &str = "[[fault]]\nkind = \"crash\"\noffices = [\"north\"]\nat = \"20m\"\nfor = \"1m\"\nevery = \"20m\"\n";
const REVOKED: &str = "[[fault]]\nkind = \"isolate\"\noffices = [\"south\"]\nat = \"10m\"\nfor = \"40m\"\n\
    [[fault]]\nkind = \"revoke\"\nby = \"head\"\noffices = [\"south\"]\nat = \"20m\"\n";
const CLOCK: &str =
    "[[fault]]\nkind = \"clock\"\noffices = [\"south\"]\nat = \"20m\"\noffset = \"-365d\"\n";

fn broken(outcome: &Outcome) -> Vec<Invariant> {
    outcome.verdicts().filter(|v| v.violation.is_some()).map(|v| v.invariant).collect()
}

#[track_caller]
fn assert_found(fault: &str, sabotage: Sabotage, invariants: &[Invariant]) {
    let scenario = scenario(fault);
    let honest = run_sabotaged(&scenario, 5, &mut NoTrace, None);
    assert!(honest.held(), "without sabotage: {:#?}", honest.violations);
    for invariant in invariants {
        let checks = honest.checks.get(invariant).copied().unwrap_or_default();
        assert!(checks > 0, "{invariant} was never checked");
    }
    let outcome = run_sabotaged(&scenario, 5, &mut NoTrace, Some(sabotage));
    assert_eq!(broken(&outcome), invariants, "{:#?}", outcome.violations);
}

#[test]
fn another_digest_for_the_same_frontier_is_found() {
    assert_found(CUT, Sabotage::AlterDigest, &[Invariant::EqualDigests]);
}

#[test]
fn a_link_that_swallows_a_log_for_ever_is_found() {
    assert_found(CUT, Sabotage::SwallowLog, &[Invariant::Convergence]);
}

#[test]
fn a_disk_that_forgets_an_acknowledged_write_is_found() {
    assert_found(CRASHES, Sabotage::ForgetAcknowledged, &[Invariant::Durability]);
}

#[test]
fn a_journal_with_swapped_entries_is_found() {
    // The feed tells them as they lie there.
    let broken = [Invariant::CausalOrder, Invariant::Feed];
    assert_found(CUT, Sabotage::SwapFrames, &broken);
}

#[test]
fn a_branch_that_an_office_has_lost_is_found() {
    // Its feed cannot report it.
    let broken = [Invariant::OneContent, Invariant::Feed];
    assert_found(LIAR, Sabotage::LoseBranch, &broken);
}

#[test]
fn a_record_that_comes_back_is_found() {
    assert_found(CUT, Sabotage::Resurrect, &[Invariant::Deletion]);
}

#[test]
fn a_value_that_nobody_signed_is_found() {
    // No feed has it.
    assert_found(CUT, Sabotage::AlterValue, &[Invariant::Provenance, Invariant::Feed]);
}

#[test]
fn what_a_revoked_office_wrote_later_is_found() {
    assert_found(REVOKED, Sabotage::KeepRevoked, &[Invariant::Provenance]);
}

#[test]
fn a_change_that_a_feed_leaves_out_is_found() {
    assert_found(CUT, Sabotage::LeaveOut, &[Invariant::Feed]);
}

#[test]
fn an_entry_that_reaches_a_stranger_is_found() {
    assert_found(CUT, Sabotage::Leak, &[Invariant::Confinement]);
}

#[test]
fn peers_beyond_the_members_are_found() {
    assert_found(CUT, Sabotage::FloodPeers, &[Invariant::Bounds]);
}

#[test]
fn a_clock_that_decides_something_is_found() {
    assert_found(CLOCK, Sabotage::FollowWallClock, &[Invariant::WallClock]);
}

#[test]
fn what_was_not_checked_is_reported_so() {
    let outcome = run_sabotaged(&scenario(CUT), 5, &mut NoTrace, None);
    let unchecked: Vec<_> =
        outcome.verdicts().filter(|v| v.checks == 0).map(|v| v.invariant).collect();
    // Every clock is right in this scenario.
    assert_eq!(unchecked, [Invariant::WallClock]);
}
