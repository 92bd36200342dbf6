//! A sorted map in memory that the tables are compared with.

use std::collections::BTreeMap;

use super::Tables;
use branchline_crdt::store::Row;
use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage};

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) fn change(model: &mut Model, writes: &[(Vec<u8>, Option<Vec<u8>>)]) {
    for (key, value) in writes.iter().cloned() {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

pub(super) fn assert_like(tables: &Tables, model: &Model, prefix: &[u8], limit: usize) {
    let mut joined: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let after = joined.last().map(|(key, _)| key.clone());
        let page = tables.scan(prefix, after.as_deref(), limit).unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            break;
        }
        joined.extend(page);
    }
    let expected = model.iter().filter(|(key, _)| key.starts_with(prefix));
    let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(joined, expected);
    let bytes = 16 * limit;
    let limits = PageLimits { rows: limit, bytes };
    let (mut page, mut paged) = (RowPage::default(), Vec::<Row>::new());
    loop {
        let after = paged.last().map(|(key, _)| key.clone());
        tables.scan_page(prefix, after.as_deref(), limits, &mut page).unwrap();
        if page.is_empty() {
            break;
        }
        let rows: Vec<_> = page.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        let all_but_last: usize =
            rows.iter().rev().skip(1).map(|(key, value)| key.len() + value.len()).sum();
        assert!(rows.len() <= limit && (all_but_last < bytes || rows.len() == 1));
        assert_eq!(page.last_key(), rows.last().map(|(key, _)| key.as_slice()));
        paged.extend(rows);
    }
    assert_eq!(paged, joined);
    let mut back: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let before = back.last().map(|(key, _)| key.clone());
        let page = tables.scan_back(prefix, before.as_deref(), limit).unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            break;
        }
        back.extend(page);
    }
    back.reverse();
    assert_eq!(back, expected);
}
