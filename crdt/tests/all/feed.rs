//! The feed of changes: complete, in order, with values, whatever happens to journal and tables.

use branchline_crdt::feed::{
    BadCursor, Change, Cursor, FeedEvent, FeedId, FeedRead, FeedReader, Item, NotOpened, PageBounds,
};
use branchline_crdt::log::entry::Origin;
use branchline_crdt::record::{Edit, Value, View};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::store::memory::MemoryStore;
use serde_json::{Value as Json, json};

use super::pair::{Pair, damaged, put};

const BOUNDS: PageBounds = PageBounds { items_max: 1000, bytes_max: 1 << 20 };

fn feed(pair: &Pair, office: usize) -> FeedId {
    FeedId::new(pair.site(office), pair.space())
}

fn start(pair: &Pair, office: usize) -> Cursor {
    Cursor::start(feed(pair, office))
}

fn open(pair: &Pair, office: usize, cursor: &Cursor) -> Result<FeedReader, NotOpened> {
    // As a consumer keeps it.
    let cursor = cursor.to_string().parse().unwrap();
    let store = pair.replicas[office].store();
    FeedReader::open(store, feed(pair, office), pair.space(), cursor, None)
}

fn read(pair: &Pair, office: usize, cursor: &Cursor) -> FeedRead {
    let mut reader = open(pair, office, cursor).unwrap();
    reader.read(pair.replicas[office].store(), BOUNDS).unwrap()
}

fn changes(page: &FeedRead) -> Vec<&Change> {
    fn change(item: &Item) -> Option<&Change> {
        match item {
            Item::Change(change) => Some(change),
            Item::Fork { .. } => None,
        }
    }
    page.reported.iter().filter_map(|reported| change(&reported.item)).collect()
}

fn ids(page: &FeedRead) -> Vec<&str> {
    changes(page).iter().map(|change| change.key.id.as_str()).collect()
}

fn json_of(view: &View) -> Json {
    Value::Map(view.fields.clone()).to_json()
}

#[test]
fn each_change_comes_with_its_values_author_and_transaction() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    pair.write(1, "tea", json!({"price": 2}));
    let delete = RecordEdit::new("products", "tea", Edit::Delete);
    let Json::Object(fields) = json!({"sum": 3}) else { panic!("an object") };
    let sale = RecordEdit::new("sales", "1", Edit::Put(fields));
    let origin = Origin { source: "till".to_owned(), number: 5 };
    let edits = vec![put("rice", json!({"price": 7})), sale, delete];
    pair.transact(0, Some(origin.clone()), edits).unwrap();
    for office in 0..2 {
        let page = read(&pair, office, &start(&pair, office));
        let reported = changes(&page);
        let values = reported.iter().map(|change| {
            let values = change.values.as_ref().unwrap();
            let before = values.before.as_ref();
            (before.map(json_of), json_of(&values.after), values.after.deleted)
        });
        let values: Vec<_> = values.collect();
        assert_eq!(
            values,
            [
                (None, json!({"price": 1}), false),
                (Some(json!({"price": 1})), json!({"price": 2}), false),
                (None, json!({"price": 7}), false),
                (None, json!({"sum": 3}), false),
                (Some(json!({"price": 2})), json!({"price": 2}), true),
            ]
        );
        let lasts: Vec<_> =
            reported.iter().map(|change| (change.is_last, change.is_last_of_collection)).collect();
        let expected = [(true, true), (true, true), (false, false), (false, true), (true, true)];
        assert_eq!(lasts, expected);
        assert_eq!(reported[1].entry.author.site, pair.site(1));
        assert_eq!(reported[4].origin, Some(origin.clone()));
        assert_eq!(reported[4].entry, reported[2].entry);
    }
}

#[test]
fn pages_of_any_size_join_without_gap_or_repeat() {
    let mut pair = Pair::new();
    for round in 0..5 {
        let edits = (0..7).map(|number| put(&number.to_string(), json!({"round": round})));
        pair.transact(round % 2, None, edits.collect()).unwrap();
    }
    let whole = read(&pair, 0, &start(&pair, 0));
    assert_eq!(whole.reported.len(), 35);
    for items_max in [1, 2, 6, 7, 8, 34] {
        let bounds = PageBounds { items_max, bytes_max: 1 << 20 };
        let (mut reported, mut cursor) = (Vec::new(), start(&pair, 0));
        loop {
            let store = pair.replicas[0].store();
            let page = open(&pair, 0, &cursor).unwrap().read(store, bounds).unwrap();
            reported.extend(page.reported);
            cursor = page.cursor;
            if page.is_end {
                break;
            }
        }
        assert_eq!(reported, whole.reported, "pages of {items_max}");
    }
    // The same with a reader that goes on, and bounded by bytes.
    let bounds = PageBounds { items_max: 1000, bytes_max: 1 };
    let mut reader = open(&pair, 0, &start(&pair, 0)).unwrap();
    let page = || reader.read(pair.replicas[0].store(), bounds).unwrap();
    let reported: Vec<_> =
        std::iter::repeat_with(page).take(35).flat_map(|page| page.reported).collect();
    assert_eq!(reported, whole.reported);
}

#[test]
fn one_collection_is_told_alone() {
    let mut pair = Pair::new();
    let empty = serde_json::Map::new;
    let sale = |id| RecordEdit::new("sales", id, Edit::Put(empty()));
    pair.transact(0, None, vec![put("tea", json!({})), sale("1"), put("rice", json!({}))]).unwrap();
    let store = pair.replicas[0].store();
    let collection = Some("sales".to_owned());
    let mut reader =
        FeedReader::open(store, feed(&pair, 0), pair.space(), start(&pair, 0), collection).unwrap();
    let page = reader.read(store, BOUNDS).unwrap();
    assert_eq!(ids(&page), ["1"]);
    let change = changes(&page)[0];
    assert!(!change.is_last && change.is_last_of_collection);
}

#[test]
fn a_cursor_outlives_a_restart_and_a_rebuild() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let cursor = read(&pair, 0, &start(&pair, 0)).cursor;
    pair.write(1, "tea", json!({"price": 2}));
    let expected = read(&pair, 0, &cursor).reported;
    pair.restart(0, |store| store);
    assert_eq!(read(&pair, 0, &cursor).reported, expected);
    pair.restart(0, MemoryStore::without_tables);
    assert_eq!(read(&pair, 0, &cursor).reported, expected);
    pair.replicas[0].rebuild(&mut |_| ()).unwrap();
    assert_eq!(read(&pair, 0, &cursor).reported, expected);
    assert_eq!(expected.len(), 1);
}

#[test]
fn now_is_behind_everything_that_shows() {
    let mut pair = Pair::new();
    let now = |pair: &Pair| Cursor::now(feed(pair, 0), pair.replicas[0].store()).unwrap();
    pair.write(0, "tea", json!({"price": 1}));
    let cursor = now(&pair);
    assert_eq!(ids(&read(&pair, 0, &cursor)), Vec::<&str>::new());
    pair.write(0, "rice", json!({"price": 1}));
    assert_eq!(ids(&read(&pair, 0, &cursor)), ["rice"]);
}

#[test]
fn cursors_of_others_of_the_future_and_of_a_lost_journal_are_refused() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let backup = pair.replicas[0].store().clone();
    let old = read(&pair, 0, &start(&pair, 0)).cursor;
    pair.write(0, "rice", json!({"price": 1}));
    let new = read(&pair, 0, &start(&pair, 0)).cursor;
    let refused = |pair: &Pair, office, cursor| match open(pair, office, cursor) {
        Err(NotOpened::Cursor(bad)) => bad,
        Err(NotOpened::Store(error)) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    };
    assert_eq!(refused(&pair, 1, &new), BadCursor::Foreign);
    pair.down();
    pair.restart(0, |_| backup);
    assert_eq!(refused(&pair, 0, &new), BadCursor::Gone, "a place behind the journal's end");
    pair.write(0, "salt", json!({"price": 1}));
    assert_eq!(refused(&pair, 0, &new), BadCursor::Gone, "a place that holds something else now");
    assert_eq!(ids(&read(&pair, 0, &old)), ["salt"], "what the backup had is still known");
}

#[test]
fn what_lay_in_a_damaged_frame_is_told_once_it_is_mended() {
    let mut pair = Pair::new();
    for (office, id) in [(0, "tea"), (1, "rice"), (0, "salt"), (1, "oil")] {
        pair.write(office, id, json!({"price": 1}));
    }
    let rice = pair.places(0, 1)[0];
    pair.down();
    pair.restart(0, |store| damaged(store, &[rice]));
    let page = read(&pair, 0, &start(&pair, 0));
    assert_eq!(ids(&page), ["tea", "salt", "oil"]);
    assert_eq!(ids(&read(&pair, 0, &page.cursor)), Vec::<&str>::new());
    pair.up();
    let mended = read(&pair, 0, &page.cursor);
    assert!(mended.went_back);
    assert_eq!(ids(&mended), ["rice", "salt", "oil"]);
    assert_eq!(ids(&read(&pair, 0, &mended.cursor)), Vec::<&str>::new());
}

#[test]
fn what_is_behind_a_damaged_frame_at_the_end_is_told_once_it_is_mended() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    pair.write(1, "rice", json!({"price": 1}));
    let rice = pair.places(0, 1)[0];
    pair.down();
    pair.restart(0, |store| damaged(store, &[rice]));
    let page = read(&pair, 0, &start(&pair, 0));
    assert_eq!(ids(&page), ["tea"]);
    pair.up();
    assert_eq!(ids(&read(&pair, 0, &page.cursor)), ["rice"]);
}

#[test]
fn what_comes_again_after_a_rebuild_over_damage_is_told_at_its_new_place() {
    let mut pair = Pair::new();
    for (office, id) in [(0, "tea"), (1, "rice"), (1, "oil")] {
        pair.write(office, id, json!({"price": 1}));
    }
    let cursor = start(&pair, 0);
    let rice = pair.places(0, 1)[0];
    pair.down();
    pair.restart(0, |store| damaged(store, &[rice]).without_tables());
    let page = read(&pair, 0, &cursor);
    assert_eq!(ids(&page), ["tea"], "oil shows no more without rice");
    pair.up();
    pair.pass(3_000);
    assert_eq!(ids(&read(&pair, 0, &page.cursor)), ["rice", "oil"]);
}

#[test]
fn values_that_lie_behind_damage_are_said_to_be_unreadable() {
    let mut pair = Pair::new();
    pair.write(1, "tea", json!({"price": 1}));
    pair.write(1, "tea", json!({"price": 2}));
    let first = pair.places(0, 1)[0];
    pair.down();
    pair.restart(0, |store| damaged(store, &[first]));
    let page = read(&pair, 0, &start(&pair, 0));
    assert!(changes(&page)[0].values.as_ref().unwrap_err().contains("damaged"));
    pair.up();
    let mended = read(&pair, 0, &page.cursor);
    let after = changes(&mended)[1].values.as_ref().unwrap().after.clone();
    assert_eq!(json_of(&after), json!({"price": 2}));
}

#[test]
fn a_fork_is_reported_and_the_changes_of_both_branches() {
    let mut shown = Vec::new();
    // Which of two values in conflict is shown is decided by their hashes.
    for price in 1..=8 {
        let mut pair = Pair::new();
        pair.write(1, "tea", json!({"price": 0}));
        let copy = pair.replicas[1].store().clone();
        pair.write(1, "tea", json!({"price": price}));
        let page = read(&pair, 0, &start(&pair, 0));
        assert_eq!(page.reported.len(), 2);
        pair.down();
        pair.start_as(1, copy, 1);
        pair.write(1, "tea", json!({"price": price + 100}));
        pair.up();
        pair.pass(5_000);
        let rest = read(&pair, 0, &page.cursor);
        let is_fork = |reported: &FeedEvent| matches!(reported.item, Item::Fork { .. });
        assert!(is_fork(&rest.reported[0]), "{price}");
        let change = changes(&rest)[0];
        let values = change.values.as_ref().unwrap();
        assert_eq!(values.before.as_ref().map(json_of), Some(json!({"price": price})));
        let prices = values.after.conflicts[0].values.iter().map(|it| it.value.clone());
        let mut prices: Vec<_> = prices.map(|it| it.to_json().as_i64().unwrap()).collect();
        prices.sort_unstable();
        assert_eq!(prices, [price, price + 100]);
        shown.push(json_of(&values.after) == json!({"price": price}));
    }
    assert!(shown.contains(&true) && shown.contains(&false), "{shown:?}");
}
