//! A model of a drive that keeps only what was synced, and of the rest whatever it likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use branchline_node::storage::testing::{sectors, write};

use super::Random;
use super::recording::Operation;

/// What becomes of all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost.
    Lost,
    /// It is kept, as when only the process was killed.
    Kept,
    /// The newest write is torn, the rest is kept.
    Torn,
    /// One in eight is lost, the rest is kept.
    Holes,
    /// Names, lengths and writes: some are kept, some lost, some torn.
    Random,
}

impl Fate {
    /// Every one.
    pub const ALL: [Fate; 5] = [Fate::Lost, Fate::Kept, Fate::Torn, Fate::Holes, Fate::Random];
}

#[derive(Clone, Copy)]
struct Crash {
    fate: Fate,
    /// Many file systems write a new file's name along with the file.
    names_follow: bool,
}

/// A drive with one folder on it.
pub struct Drive {
    nodes: Vec<Node>,
    open: BTreeMap<u32, usize>,
    root: PathBuf,
    /// Changes so far: their numbers say which one is the newest.
    changes: u64,
}

enum Node {
    File(FileNode),
    Folder(FolderNode),
}

#[derive(Default)]
struct FileNode {
    synced: Vec<u8>,
    was_synced: bool,
    pending: Vec<(u64, Pending)>,
}

enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

#[derive(Default)]
struct FolderNode {
    synced: BTreeMap<String, usize>,
    current: BTreeMap<String, usize>,
    pending: Vec<(u64, Change)>,
}

#[derive(Clone)]
enum Change {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

impl Change {
    /// Carries itself out; one that does not fit, because another was lost, does nothing.
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            Change::Remove(name) => {
                names.remove(name);
            }
            Change::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

impl Drive {
    /// A drive with an empty folder at `root`.
    pub fn new(root: &Path) -> Drive {
        let nodes = vec![Node::Folder(FolderNode::default())];
        Drive { nodes, open: BTreeMap::new(), root: root.to_owned(), changes: 0 }
    }

    /// Plays one operation. True if something changed, so that a crash now may differ from one before.
    pub fn play(&mut self, operation: &Operation) -> bool {
        self.changes += 1;
        match operation {
            Operation::Open { fd, path, create, truncate } => {
                let (node, is_new) = match self.find(path) {
                    Some(node) => (node, false),
                    None => {
                        assert!(*create, "{} was opened unseen", path.display());
                        (self.add(path, Node::File(FileNode::default())), true)
                    }
                };
                self.open.insert(*fd, node);
                if *truncate && !is_new {
                    self.pend(node, Pending::Truncate(0));
                }
                is_new || *truncate
            }
            Operation::Close { fd } => {
                self.open.remove(fd);
                false
            }
            Operation::Write { fd, offset, bytes } => {
                let write = Pending::Write { offset: *offset, bytes: bytes.clone() };
                self.pend(self.open[fd], write);
                true
            }
            Operation::Truncate { fd, len } => {
                self.pend(self.open[fd], Pending::Truncate(*len));
                true
            }
            Operation::Sync { fd } => {
                self.sync(self.open[fd]);
                true
            }
            Operation::SyncRange { .. } => false,
            Operation::Rename { from, to } => {
                let node = self.find(from).expect("what is renamed exists");
                if from.parent() == to.parent() {
                    self.change(from, Change::Rename(name(from), name(to)));
                } else {
                    self.change(to, Change::Add(name(to), node));
                    self.change(from, Change::Remove(name(from)));
                }
                true
            }
            Operation::Unlink { path } | Operation::RemoveFolder { path } => {
                self.change(path, Change::Remove(name(path)));
                true
            }
            Operation::MakeFolder { path } => {
                if *path != self.root {
                    self.add(path, Node::Folder(FolderNode::default()));
                }
                true
            }
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let below = path.strip_prefix(&self.root).expect("paths below the root");
        let mut at = 0;
        for part in below.components() {
            let (Node::Folder(folder), Component::Normal(part)) = (&self.nodes[at], part) else {
                return None;
            };
            at = *folder.current.get(part.to_str()?)?;
        }
        Some(at)
    }

    fn add(&mut self, path: &Path, node: Node) -> usize {
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.change(path, Change::Add(name(path), number));
        number
    }

    fn change(&mut self, path: &Path, change: Change) {
        let parent = path.parent().and_then(|parent| self.find(parent));
        let Node::Folder(folder) = &mut self.nodes[parent.expect("the parent exists")] else {
            panic!("{} lies in a file", path.display());
        };
        change.apply(&mut folder.current);
        folder.pending.push((self.changes, change));
    }

    fn pend(&mut self, node: usize, pending: Pending) {
        match &mut self.nodes[node] {
            Node::File(file) => file.pending.push((self.changes, pending)),
            Node::Folder(_) => panic!("a folder was written to"),
        }
    }

    fn sync(&mut self, node: usize) {
        match &mut self.nodes[node] {
            Node::File(file) => {
                file.was_synced = true;
                for (_, pending) in std::mem::take(&mut file.pending) {
                    match pending {
                        Pending::Write { offset, bytes } => write(&mut file.synced, offset, &bytes),
                        Pending::Truncate(len) => file.synced.resize(len as usize, 0),
                    }
                }
            }
            Node::Folder(folder) => {
                folder.pending.clear();
                folder.synced = folder.current.clone();
            }
        }
    }

    /// Makes in `to`, an empty folder, what a crash now leaves.
    pub fn crash(&self, fate: Fate, seed: u64, to: &Path) {
        let mut random = Random(seed);
        let names_follow = random.one_in(2);
        self.restore(0, Crash { fate, names_follow }, &mut random, to);
    }

    fn restore(&self, node: usize, crash: Crash, random: &mut Random, to: &Path) {
        match &self.nodes[node] {
            Node::File(file) => {
                fs::write(to, file.after(crash.fate, self.changes, random)).expect("a file");
            }
            Node::Folder(folder) => {
                fs::create_dir_all(to).expect("a folder");
                for (name, node) in self.names_after(folder, crash, random) {
                    self.restore(node, crash, random, &to.join(name));
                }
            }
        }
    }

    fn names_after(
        &self,
        folder: &FolderNode,
        crash: Crash,
        random: &mut Random,
    ) -> BTreeMap<String, usize> {
        let mut names = folder.synced.clone();
        for (_, change) in &folder.pending {
            let kept = match crash.fate {
                Fate::Lost => false,
                Fate::Kept | Fate::Torn => true,
                Fate::Holes => !random.one_in(8),
                Fate::Random => random.one_in(2),
            };
            if kept || crash.names_follow && self.is_of_synced_file(change) {
                change.apply(&mut names);
            }
        }
        names
    }

    fn is_of_synced_file(&self, change: &Change) -> bool {
        match change {
            Change::Add(_, node) => {
                matches!(&self.nodes[*node], Node::File(file) if file.was_synced)
            }
            Change::Remove(_) | Change::Rename(..) => false,
        }
    }
}

impl FileNode {
    fn after(&self, fate: Fate, newest: u64, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (number, pending) in &self.pending {
            let (lost, torn) = match fate {
                Fate::Lost => (true, false),
                Fate::Kept => (false, false),
                Fate::Torn => (false, *number == newest),
                Fate::Holes => (random.one_in(8), false),
                // One in four is kept whole, one is lost, two are torn.
                Fate::Random => (random.one_in(4), !random.one_in(3)),
            };
            match pending {
                _ if lost => {}
                Pending::Truncate(len) => bytes.resize(*len as usize, 0),
                Pending::Write { offset, bytes: written } => {
                    for (at, piece) in sectors(*offset, written) {
                        if !torn || random.one_in(2) {
                            write(&mut bytes, at, piece);
                        }
                    }
                }
            }
        }
        bytes
    }
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}
