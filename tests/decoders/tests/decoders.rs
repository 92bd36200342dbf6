//! Every decoder with its corpus, with what once broke it, and with some mutations of both.
//!
//! For more mutations: `BRANCHLINE_MUTATIONS=100000 cargo test -p branchline-decoders --release --test decoders`. For as
//! many as one likes, guided by coverage: `tests/fuzz/README.md`.

#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use branchline_decoders::{Mutator, TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Mutations of each decoder's inputs.
const MUTATIONS: usize = 400;

fn folder(kind: &str, target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target.name)
}

/// The files of a folder by name; none where there is no such folder.
fn inputs(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("an input")).collect()
}

/// One test for all: memory is counted for the process, so decoders run one after the other.
#[test]
fn no_input_breaks_a_decoder_or_takes_more_memory_than_it_may() {
    let mutations = std::env::var("BRANCHLINE_MUTATIONS");
    let mutations = mutations.map_or(MUTATIONS, |text| text.parse().expect("a number"));
    let only = std::env::var("BRANCHLINE_TARGET").ok();
    for target in TARGETS.iter().filter(|t| only.as_ref().is_none_or(|name| name == t.name)) {
        let mut corpus = inputs(&folder("corpus", target));
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        corpus.extend(inputs(&folder("regressions", target)));
        // What is made once for all inputs counts for none.
        (target.run)(&corpus[0]);
        let began = std::time::Instant::now();
        let mut taken = corpus.iter().map(|input| check(target, input)).max().unwrap_or_default();
        let mut mutator = Mutator::new(1);
        for _ in 0..mutations {
            taken = taken.max(check(target, &mutator.mutate(&corpus)));
        }
        let (name, count, seconds) = (target.name, corpus.len(), began.elapsed().as_secs_f32());
        println!("{name}: {count} inputs, {mutations} mutations, {taken} bytes, {seconds:.1} s");
    }
}

/// Runs an input, and keeps it where it breaks the decoder.
fn check(target: &Target, input: &[u8]) -> usize {
    let result = std::panic::catch_unwind(|| target.check(input));
    result.unwrap_or_else(|_| {
        let path = std::env::temp_dir().join(format!("branchline-{}", target.name));
        std::fs::write(&path, input).expect("room");
        panic!(
            "an input of {} broke {}; it is kept in {}: put it into {}",
            input.len(),
            target.name,
            path.display(),
            folder("regressions", target).display()
        )
    })
}

/// The corpora in the repository are what the program itself encodes.
#[test]
fn the_corpora_are_what_the_program_encodes() {
    let is_stale = |target: &&Target| inputs(&folder("corpus", target)) != (target.seeds)();
    let stale: Vec<_> = TARGETS.iter().filter(is_stale).map(|target| target.name).collect();
    assert!(
        stale.is_empty(),
        "the corpora of {stale:?} are of another format: write them with \
         `cargo test -p branchline-decoders --test decoders -- --ignored write_corpora`"
    );
}

#[test]
#[ignore = "writes the corpora"]
fn write_corpora() {
    for target in TARGETS {
        let folder = folder("corpus", target);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            Ok(()) | Err(_) => {}
        }
        std::fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed).expect("room");
        }
    }
}
