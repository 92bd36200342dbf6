//! Backups of sites.

use branchline_crdt::format::container::{ChunkReader, ChunkWriter, END};
use branchline_node::backup::{
    BackupHeader, BackupPart, BackupReader, BackupWriter, FILE, JournalContents,
};

use crate::{Memory, Target};

/// Kinds of parts, and one more.
const KINDS: u8 = 5;

pub(crate) const BACKUP: Target =
    Target { name: "backup", run: backup, seeds, memory: Memory { mib: 256, per_byte: 256 } };

/// The first byte of the input says whether the rest is a file, or (a kind, then its content) a part that is put into a
/// sound file, so that mutations get behind the checksums. What is read can be written again, and is whole only if its
/// end was read.
fn backup(input: &[u8]) {
    let file = match input {
        [0, file @ ..] => file.to_vec(),
        [_, kind, content @ ..] => with_part(kind % KINDS, content),
        [] | [_] => return,
    };
    let mut reader = BackupReader::default();
    let (mut writer, _) = BackupWriter::start();
    let (mut frames, mut is_ended) = (0, false);
    for bytes in file.chunks(1_000) {
        reader.push(bytes);
        loop {
            let part = match reader.next_part() {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return;
                }
            };
            assert!(!is_ended, "something comes behind the end");
            match &part {
                BackupPart::Header(_) | BackupPart::SiteFile { .. } | BackupPart::State { .. } => {}
                BackupPart::Frames(some) => frames += some.len() as u64,
                BackupPart::End(contents) => {
                    assert_eq!(contents.frames, frames);
                    is_ended = true;
                }
            }
            assert!(writer.part(&part).is_ok());
        }
    }
    assert_eq!(reader.finish().is_ok(), is_ended);
}

/// A file of one part and an end.
fn with_part(kind: u8, content: &[u8]) -> Vec<u8> {
    let (mut writer, mut file) = ChunkWriter::start(FILE);
    file.extend(writer.chunk(kind, content));
    file.extend(writer.chunk(END, &[0, 0, 0]));
    file
}

fn seeds() -> Vec<Vec<u8>> {
    let header = BackupHeader {
        site: "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".to_owned(),
        name: "head".to_owned(),
        time: "2026-11-20T12:00:00.000Z".to_owned(),
    };
    let frames: Vec<Vec<u8>> = (0..20_u8).map(|number| vec![number; 40]).collect();
    let contents = JournalContents { frames: 20, bytes: 800, damaged: 0 };
    let parts = [
        BackupPart::Header(header),
        BackupPart::SiteFile { name: "site.json".to_owned(), content: b"{}".to_vec() },
        BackupPart::State { name: "connect/views.db".to_owned(), content: b"rows".to_vec() },
        BackupPart::Frames(frames),
        BackupPart::End(contents),
    ];
    let (mut writer, mut file) = BackupWriter::start();
    for part in &parts {
        file.extend(writer.part(part).expect("a part"));
    }
    let mut chunks = ChunkReader::new(FILE);
    chunks.push(&file);
    let mut seeds = vec![[&[0], &file[..]].concat()];
    while let Some((kind, content)) = chunks.next_chunk().expect("a sound file") {
        seeds.push([&[1, kind], &content[..]].concat());
    }
    seeds
}
