//! What reads whatever anybody may send, over the kept corpus and over what is like it. Each of the targets says in itself
//! what must hold of what it has read; here nothing else may come of it than its end.

use std::path::{Path, PathBuf};

use disconnectd::fuzz::TARGETS;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// What is like the corpus, for each target.
const CASES: u32 = 500;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut kept: Vec<_> =
        files.map(|file| file.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    kept.sort();
    assert!(!kept.is_empty(), "nothing is kept for {target}");
    kept
}

#[test]
fn the_corpus_is_read_without_a_panic() {
    for (name, target) in TARGETS {
        for (path, bytes) in corpus(name) {
            let read = std::panic::catch_unwind(|| target(&bytes));
            assert!(read.is_ok(), "{name} panics at {}", path.display());
        }
    }
}

/// A small change of what is there.
#[derive(Debug, Clone)]
enum Edit {
    Put(Index, u8),
    Drop(Index, usize),
    Insert(Index, Vec<u8>),
    /// A part of another one, at this place.
    Splice(Index, Index),
    Repeat(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (at(), 1..20_usize).prop_map(|(at, count)| Edit::Drop(at, count)),
        (at(), "[-0-9a-z\"',;:(){}\\[\\]*/ \n\u{e9}\u{1f4a9}]{1,12}")
            .prop_map(|(at, text)| Edit::Insert(at, text.into_bytes())),
        (at(), at()).prop_map(|(at, other)| Edit::Splice(at, other)),
        (at(), 2..40_usize).prop_map(|(at, times)| Edit::Repeat(at, times)),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit], all: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    for edit in edits {
        match edit {
            Edit::Put(at, byte) => {
                if !bytes.is_empty() {
                    let there = at.index(bytes.len());
                    bytes[there] = *byte;
                }
            }
            Edit::Drop(at, count) => {
                let from = place(at, &bytes);
                bytes.drain(from..bytes.len().min(from + count));
            }
            Edit::Insert(at, text) => {
                let from = place(at, &bytes);
                bytes.splice(from..from, text.iter().copied());
            }
            Edit::Splice(at, other) => {
                let other = &other.get(all).1;
                let (from, part) = (place(at, &bytes), place(at, other));
                bytes.splice(from..from, other[part..].iter().copied());
            }
            Edit::Repeat(at, times) => {
                let from = place(at, &bytes);
                let part = bytes[from..].to_vec();
                bytes.extend(part.iter().copied().cycle().take(part.len() * times));
            }
        }
        bytes.truncate(64 * 1024);
    }
    bytes
}

#[test]
fn what_is_like_the_corpus_is_read_without_a_panic() {
    for (name, target) in TARGETS {
        let all = corpus(name);
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let likes = (any::<Index>(), proptest::collection::vec(edit(), 1..6));
        let read = TestRunner::new(config).run(&likes, |(which, edits)| {
            target(&edited(which.get(&all).1.clone(), &edits, &all));
            Ok(())
        });
        assert!(read.is_ok(), "{name}: {read:?}");
    }
}
