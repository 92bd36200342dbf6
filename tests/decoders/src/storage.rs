//! A journal of any bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Unstructured;
use branchline_crdt::store::Position;
use branchline_node::storage::disk::Disk;
use branchline_node::storage::journal::{Journal, JournalOptions};
use branchline_node::storage::testing::FaultyDisk;

use crate::{Memory, Target};

/// Small segments, so that a few frames fill several.
const OPTIONS: JournalOptions = JournalOptions { segment_bytes_max: 512, room_bytes: 4096 };

pub(crate) const JOURNAL: Target =
    Target { name: "journal", run: journal, seeds, memory: Memory { mib: 24, per_byte: 64 } };

/// The bytes of segment files: as they come, or those of a sound journal with some damage. The journal opens or says
/// why not, serves what was appended or nothing, and goes on.
fn journal(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let disk = FaultyDisk::new();
    let written = match how & 1 {
        0 => {
            let middle = bytes.len() * usize::from(how >> 1) / 128;
            let (first, second) = bytes.split_at(middle);
            put_file(&disk, 0, first);
            put_file(&disk, 1, second);
            None
        }
        _ => {
            let mut input = Unstructured::new(bytes);
            let written = append_some(&disk, &mut input);
            // Where the description ends, so does the damage.
            let _ = damage(&disk, &mut input);
            Some(written)
        }
    };
    let applied = (how & 2 == 2).then_some(Position(u64::from(*how)));
    let Ok((mut journal, _)) = Journal::open(Arc::new(disk.clone()), applied, OPTIONS) else {
        return;
    };
    let served = all(&journal);
    if let Some(written) = &written {
        for (at, frame) in &served {
            assert_eq!(written.get(at), Some(frame), "what was never appended is served");
        }
    }
    let more = journal.append(&[b"more", b"and more"]).expect("there is room");
    assert_eq!(journal.reader().read(more[0]).ok().as_deref(), Some(&b"more"[..]));
    drop(journal);
    let (journal, _) = Journal::open(Arc::new(disk), None, OPTIONS).expect("it opens again");
    let again = all(&journal);
    assert!(served.iter().all(|(at, frame)| again.get(at) == Some(frame)), "a frame is gone");
    assert_eq!(again.get(&more[1]).map(Vec::as_slice), Some(&b"and more"[..]));
}

fn put_file(disk: &FaultyDisk, number: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        let file = disk.create(&format!("{number:08x}.seg")).expect("a file");
        file.write_at(0, bytes).expect("room");
    }
}

fn all(journal: &Journal) -> BTreeMap<Position, Vec<u8>> {
    let frames = journal.reader().scan(None, usize::MAX).expect("the journal can be read");
    let frames: BTreeMap<_, _> = frames.into_iter().collect();
    for (at, frame) in &frames {
        assert_eq!(journal.reader().read(*at).ok().as_ref(), Some(frame));
    }
    let mut verified = journal.reader().verify_all(&mut |_, _| ()).expect("it can be verified");
    verified.damaged.sort_unstable();
    assert_eq!(verified.frames, frames.len() as u64);
    frames
}

fn append_some(disk: &FaultyDisk, input: &mut Unstructured<'_>) -> BTreeMap<Position, Vec<u8>> {
    let opened = Journal::open(Arc::new(disk.clone()), None, OPTIONS);
    let (mut journal, _) = opened.expect("an empty journal opens");
    let mut written = BTreeMap::new();
    for _ in 0..input.arbitrary::<u8>().unwrap_or_default() % 12 {
        let count = usize::from(input.arbitrary::<u8>().unwrap_or_default() % 4);
        let frames: Vec<Vec<u8>> = (0..count)
            .map(|_| vec![7; usize::from(input.arbitrary::<u8>().unwrap_or_default())])
            .collect();
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        // A commit that is larger than a segment is refused.
        if let Ok(positions) = journal.append(&slices) {
            written.extend(positions.into_iter().zip(frames));
        }
    }
    written
}

fn damage(disk: &FaultyDisk, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut names = disk.list().expect("a folder");
    names.sort_unstable();
    while !input.is_empty() && !names.is_empty() {
        let name = input.choose(&names)?.clone();
        let file = disk.open(&name).expect("a file");
        let length = file.len().expect("a length");
        let at = u64::from(input.arbitrary::<u16>()?) % (length + 1);
        match input.arbitrary::<u8>()? % 6 {
            0 | 1 => disk.flip(&name, at, input.arbitrary()?),
            2 => file.truncate(at).expect("room"),
            3 => file.write_at(at, &[0; 40]).expect("room"),
            4 => {
                disk.remove(&name).expect("a file");
                names.retain(|other| *other != name);
            }
            _ => {
                let mut block = [0; 64];
                let read = file.read_at(0, &mut block).expect("bytes");
                file.write_at(at, &block[..read]).expect("room");
            }
        }
    }
    Ok(())
}

fn seeds() -> Vec<Vec<u8>> {
    let disk = FaultyDisk::new();
    append_some(&disk, &mut Unstructured::new(&[3, 3, 9, 90, 200, 2, 100, 255, 1, 4]));
    let mut raw = vec![0];
    let file = disk.open("00000000.seg").expect("a segment");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("bytes");
    raw.extend(bytes);
    let built = [1, 5, 3, 9, 90, 200, 2, 100, 255, 1, 4, 2, 7, 7, 3, 1, 2, 3];
    let damages: [&[u8]; 3] = [&[0, 30, 0, 0, 1], &[1, 90, 0, 2], &[0, 5, 0, 3, 1, 60, 0, 5]];
    let built = damages.map(|damage| [&built[..], damage].concat());
    [vec![raw.clone(), [&[254], &raw[1..]].concat()], built.into()].concat()
}
