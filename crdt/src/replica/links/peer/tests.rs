//! Pulls from one peer, without a replica.

use super::*;
use crate::ids::{EntryHash, Incarnation, SiteId};
use crate::log::entry::Tip;

const GOOD: Judged = Judged { progress: true, not_ready: false, refused: false };
const NOTHING_NEW: Judged = Judged { progress: false, not_ready: false, refused: false };
const NOT_READY: Judged = Judged { progress: true, not_ready: true, refused: false };
const REFUSED: Judged = Judged { progress: true, not_ready: false, refused: true };

fn author(number: u8) -> Author {
    Author { site: SiteId([number; 32]), incarnation: Incarnation([number; 8]) }
}

fn known(number: u8, seq: u64) -> Known {
    Known::of(Tip { author: author(number), seq, hash: EntryHash([number; 32]) })
}

fn request(id: u64) -> SentPull {
    let (held, is_whole, after) = (BTreeMap::new(), true, None);
    SentPull { id, asked: Asked::Entries, held, is_whole, after }
}

/// An answer comes; nothing is held.
fn answer(state: &mut PullState, id: u64, until: Vec<Known>) {
    state.in_flight = None;
    state.answered(request(id), at(id, until), |_| 0);
}

/// An answer that was cut behind so many entries of the peer's journal.
fn at(place: u64, logs: Vec<Known>) -> Until {
    let at = (!logs.is_empty()).then_some(Position(place));
    Until { logs, at }
}

/// The entries of the oldest answer are taken in.
fn take(state: &mut PullState, judged: Judged) -> Next {
    let answered = state.preparing.pop_front().expect("an answer is being prepared");
    state.taken(&answered, judged)
}

#[test]
fn a_whole_answer_ends_the_pull() {
    let mut state = PullState::default();
    assert!(!state.is_busy());
    answer(&mut state, 1, Vec::new());
    assert!(state.is_busy());
    assert!(state.go_on().is_none(), "there is nothing behind it");
    assert_eq!(take(&mut state, GOOD), Next::Done);
    assert!(!state.is_busy());
}

#[test]
fn a_pull_goes_on_once_behind_a_cut_answer() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    let (assumed, after) = state.go_on().expect("it goes on before the entries are taken in");
    assert_eq!(assumed.get(&author(1)).map(|known| known.seq), Some(5));
    assert_eq!(after, Some(Position(1)));
    assert!(state.go_on().is_none());
}

#[test]
fn no_pull_goes_on_while_one_is_in_flight() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    state.in_flight = Some(request(2));
    assert!(state.go_on().is_none());
    state.in_flight = None;
    assert!(state.go_on().is_some());
}

#[test]
fn no_more_answers_are_under_way_than_may_lie_in_memory() {
    let mut state = PullState::default();
    for id in 1..=UNDER_WAY_MAX as u64 {
        answer(&mut state, id, vec![known(1, id)]);
    }
    assert!(state.go_on().is_none());
    assert_eq!(take(&mut state, GOOD), Next::Wait);
    assert!(state.go_on().is_some());
}

#[test]
fn what_answers_end_with_adds_up() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    answer(&mut state, 2, vec![known(1, 9), known(2, 1)]);
    state.preparing.pop_front();
    let (assumed, after) = state.go_on().unwrap();
    assert_eq!(after, Some(Position(2)));
    let seqs: Vec<u64> = assumed.values().map(|known| known.seq).collect();
    assert_eq!(seqs, [9, 1]);
}

#[test]
fn a_cut_answer_that_was_not_gone_on_from_is_gone_on_from_when_it_is_taken_in() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    assert_eq!(take(&mut state, GOOD), Next::More);
    answer(&mut state, 2, vec![known(1, 3)]);
    assert!(state.go_on().is_some(), "nothing is assumed of the last pull");
}

#[test]
fn an_answer_that_ends_before_what_is_held_halts_pulling() {
    let mut state = PullState::default();
    let mut asked = request(1);
    asked.held.insert(author(1), 5);
    state.answered(asked, at(1, vec![known(1, 5)]), |_| 5);
    assert!(state.go_on().is_none(), "the peer holds another branch");
    assert_eq!(take(&mut state, GOOD), Next::More);
}

#[test]
fn an_answer_that_goes_back_behind_the_last_one_halts_pulling() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    assert!(state.go_on().is_some());
    answer(&mut state, 2, vec![known(1, 5)]);
    state.preparing.pop_front();
    assert!(state.go_on().is_none());
}

#[test]
fn nothing_is_assumed_of_a_log_that_forked() {
    let mut state = PullState::default();
    state.checked.insert(author(1), 3);
    answer(&mut state, 1, vec![known(1, 5)]);
    assert!(state.go_on().is_none());
}

#[test]
fn of_an_answer_that_names_too_many_logs_only_its_place_is_believed() {
    let mut state = PullState::default();
    let log = |number: usize| {
        let mut site = [0; 32];
        site[..8].copy_from_slice(&number.to_le_bytes());
        let author = Author { site: SiteId(site), incarnation: Incarnation([0; 8]) };
        Known::of(Tip { author, seq: 1, hash: EntryHash([1; 32]) })
    };
    answer(&mut state, 1, (0..=ASSUMED_LOGS_MAX).map(log).collect());
    assert_eq!(state.go_on(), Some((BTreeMap::new(), Some(Position(1)))));
}

#[test]
fn a_pull_that_could_not_say_all_goes_on_behind_what_it_is_sent_again() {
    let partly = |id, after| SentPull { is_whole: false, after, ..request(id) };
    let mut state = PullState::default();
    state.answered(partly(1, None), at(7, vec![known(1, 5)]), |_| 5);
    assert_eq!(take(&mut state, NOTHING_NEW), Next::More);
    assert_eq!(state.reached(), Some(Position(7)));
    // Not one that goes no further, nor where something is missing.
    state.answered(partly(2, Some(Position(7))), at(7, vec![known(2, 5)]), |_| 5);
    assert_eq!(take(&mut state, NOTHING_NEW), Next::Done);
    state.answered(partly(3, None), at(9, vec![known(3, 5)]), |_| 5);
    let missing = Judged { not_ready: true, ..NOTHING_NEW };
    assert_eq!(take(&mut state, missing), Next::Retry);
    assert_eq!(state.reached(), None);
}

#[test]
fn a_peer_that_sends_nothing_new_without_end_is_left_in_the_end() {
    let mut state = PullState::default();
    let mut place = 0;
    loop {
        let after = Some(Position(place));
        place += 1;
        let asked = SentPull { is_whole: false, after, ..request(place) };
        state.answered(asked, at(place, vec![known(1, place)]), |_| 0);
        if take(&mut state, NOTHING_NEW) == Next::Done {
            break;
        }
    }
    assert_eq!(place, u64::from(REPEATS_MAX) + 1);
}

#[test]
fn a_halt_lasts_until_nothing_is_under_way() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    answer(&mut state, 2, vec![known(1, 9)]);
    assert_eq!(take(&mut state, NOTHING_NEW), Next::Wait);
    answer(&mut state, 3, vec![known(1, 12)]);
    assert!(state.go_on().is_none());
    assert_eq!(take(&mut state, GOOD), Next::Wait);
    assert_eq!(take(&mut state, GOOD), Next::More);
    answer(&mut state, 4, vec![known(1, 20)]);
    assert!(state.go_on().is_some(), "it begins again with what is held");
}

#[test]
fn entries_whose_past_is_missing_are_pulled_again_in_a_while() {
    let mut state = PullState::default();
    answer(&mut state, 1, Vec::new());
    assert_eq!(take(&mut state, NOT_READY), Next::Retry);
    answer(&mut state, 2, Vec::new());
    assert_eq!(take(&mut state, GOOD), Next::Done, "that is not remembered");
}

#[test]
fn what_is_missing_is_remembered_over_the_answers_behind_it() {
    let mut state = PullState::default();
    answer(&mut state, 1, Vec::new());
    answer(&mut state, 2, Vec::new());
    assert_eq!(take(&mut state, NOT_READY), Next::Wait);
    state.halt();
    assert_eq!(take(&mut state, REFUSED), Next::Retry);
}

#[test]
fn a_cut_answer_with_something_new_goes_on_also_where_something_is_missing() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    assert_eq!(take(&mut state, NOT_READY), Next::More);
}

#[test]
fn a_cut_answer_without_anything_new_is_not_asked_for_again_at_once() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    assert_eq!(take(&mut state, NOTHING_NEW), Next::Done);
}

#[test]
fn refused_entries_halt_pulling() {
    let mut state = PullState::default();
    answer(&mut state, 1, vec![known(1, 5)]);
    answer(&mut state, 2, vec![known(1, 9)]);
    assert_eq!(take(&mut state, REFUSED), Next::Wait);
    assert!(state.go_on().is_none());
}

#[test]
fn a_peer_is_full_by_pulls_and_by_notifications() {
    let mut peer = Peer::default();
    for number in 0..REQUESTS_MAX as u8 {
        assert!(!peer.is_full());
        let space = SpaceId([number; 16]);
        match number % 2 {
            0 => peer.pulls.entry(space).or_default().in_flight = Some(request(1)),
            _ => peer.notifications.entry(space).or_default().in_flight = Some(1),
        }
    }
    assert!(peer.is_full());
}

#[test]
fn a_prepared_answer_is_found_by_its_request_and_only_once() {
    let mut peer = Peer::default();
    let space = SpaceId([7; 16]);
    let state = peer.pulls.entry(space).or_default();
    state.answered(request(11), Until::default(), |_| 0);
    state.answered(request(12), at(1, vec![known(1, 1)]), |_| 0);
    assert!(peer.awaits(12) && !peer.awaits(13));
    let (found, answered) = peer.prepared(12).unwrap();
    assert_eq!((found, answered.is_cut), (space, true));
    assert!(!peer.awaits(12) && peer.awaits(11));
}

#[test]
fn a_peer_is_shown_that_this_site_is_a_member_ever_more_rarely() {
    let mut peer = Peer::default();
    let (mut now_ms, mut pauses) = (0, Vec::new());
    for _ in 0..16 {
        assert!(peer.is_to_be_shown(now_ms));
        let pause_ms = peer.shown.1 - now_ms;
        assert!(!peer.is_to_be_shown(now_ms + pause_ms - 1));
        pauses.push(pause_ms);
        now_ms += pause_ms;
    }
    assert_eq!(pauses[..3], [1_000, 2_000, 4_000]);
    assert_eq!(pauses.last(), Some(&(SHOW_AGAIN_MS << SHOW_DOUBLINGS_MAX)));
}
