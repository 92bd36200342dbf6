//! Forks: a site that signed two entries under one number.
//!
//! A fork means two writers: somebody lies, or a machine was set back with its memory, or its image was started twice. Both
//! branches stay, at every site, with all that is built on either; only what they say of the same field is in conflict.
//!
//! **Names.** A log goes by its author, up to where it forks. Each branch behind that is a log with a name of its own, made of
//! the hash of its first entry. An incarnation never looks like such a name ([`Incarnation::is_of_branch`]). So names follow
//! from the known forks alone:
//!
//! ```text
//! signed by A     1 - 2 - 3a - 4a
//!                      \
//!                       3b - 4b
//!                         \
//!                          4c
//! logs            A: 1 2     [3a]: 3a 4a     [3b]: 3b     [4b]: 4b     [4c]: 4c
//! ```
//!
//! A site that knew 3b alone took it for A's; when it learns of 3a, its tables are rebuilt under the right names, once for
//! each place where a log forks, however many branches it has there. Between two such times proofs of peers are not taken for
//! a while, so that who signs number after number twice does not keep all others busy. An entry that names A's third entry as
//! its past says by the hash which one it means, whatever its author knew.
//!
//! **Proof.** Two signed headers with one number and one previous entry ([`ForkProof`]). It is kept in the journal and sent
//! to everybody, so that all come to use the same names.
//!
//! New here; the idea that equivocation makes branches which all stay is that of Byzantine causal broadcast in hash graphs
//! (Kleppmann, "Making CRDTs Byzantine Fault Tolerant", 2022).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entry::Header;
use crate::ids::{Author, EntryHash, Incarnation, Signature, SiteId};
use crate::record::ActorBytes;

/// A header as it was signed.
pub type SignedHeader = (Header, Signature);

/// Two headers of one author with the same number and the same previous entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkProof {
    /// The header with the lower hash.
    pub lower: SignedHeader,
    /// The other.
    pub higher: SignedHeader,
}

impl ForkProof {
    /// The proof from two headers, or `None` if they are none.
    pub fn new(one: SignedHeader, other: SignedHeader) -> Option<Self> {
        let place = |(header, _): &SignedHeader| {
            (header.realm, header.space, header.author, header.seq, header.previous)
        };
        let is_proof = place(&one) == place(&other)
            && hash(&one) != hash(&other)
            && [&one, &other].iter().all(|(header, signature)| header.is_signed(signature));
        if !is_proof {
            return None;
        }
        let (lower, higher) = if hash(&one) < hash(&other) { (one, other) } else { (other, one) };
        Some(Self { lower, higher })
    }

    /// Both headers, each with the hash of its entry.
    pub(crate) fn headers(&self) -> [(EntryHash, &SignedHeader); 2] {
        [&self.lower, &self.higher].map(|header| (hash(header), header))
    }
}

fn hash((header, signature): &SignedHeader) -> EntryHash {
    header.entry_hash(signature)
}

/// The known forks of the logs of one space.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forks {
    /// By who signed.
    authors: BTreeMap<Author, OfAuthor>,
    /// By its name, who signed a branch, and the number of its first entry.
    branches: BTreeMap<Author, (Author, u64)>,
    /// Their actors.
    actors: BTreeSet<ActorBytes>,
}

/// The forks of one author's log.
#[derive(Clone, Debug, Default)]
struct OfAuthor {
    /// By the entry behind which it forks, the first entries of the branches; at least two.
    points: BTreeMap<EntryHash, BTreeMap<EntryHash, SignedHeader>>,
    /// By first entry, the names of the branches.
    names: BTreeMap<EntryHash, Author>,
}

/// Where an entry goes on, behind the one that it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// In this log.
    In(Author),
    /// In a branch that is not known yet, beside those that are.
    Unknown,
}

impl Forks {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.authors.is_empty()
    }

    /// Whether an author's log is known to fork.
    pub(crate) fn has(&self, author: &Author) -> bool {
        self.authors.contains_key(author)
    }

    /// The authors whose logs fork.
    pub(crate) fn authors(&self) -> impl Iterator<Item = &Author> {
        self.authors.keys()
    }

    /// The actors of the authors whose logs fork.
    pub(crate) fn actors(&self) -> &BTreeSet<ActorBytes> {
        &self.actors
    }

    /// Who signed what is in a log.
    pub(crate) fn signed(&self, log: Author) -> Author {
        self.branches.get(&log).map_or(log, |(signed, _)| *signed)
    }

    /// The number of a log's first entry: 1, but for a branch.
    pub(crate) fn first(&self, log: &Author) -> u64 {
        self.branches.get(log).map_or(1, |(_, first)| *first)
    }

    /// The names of all logs of an author.
    pub(crate) fn names(&self, author: Author) -> impl Iterator<Item = Author> + '_ {
        let own = self.authors.get(&author).map(|of| of.names.values().copied());
        [author].into_iter().chain(own.into_iter().flatten())
    }

    /// The names of all logs of a site whose logs fork.
    pub(crate) fn names_of(&self, site: SiteId) -> impl Iterator<Item = Author> + '_ {
        let authors = self.authors.keys().filter(move |author| author.site == site);
        authors.flat_map(|author| self.names(*author))
    }

    /// Whether a log is of an author whose log forks.
    pub(crate) fn concerns(&self, log: Author) -> bool {
        self.has(&self.signed(log))
    }

    /// Takes note of a proof. Says whether it is news.
    pub(crate) fn learn(&mut self, proof: &ForkProof) -> bool {
        let mut is_news = false;
        for (hash, header) in proof.headers() {
            is_news |= self.add(hash, header.clone());
        }
        if is_news {
            self.give_names(proof.lower.0.author.site);
        }
        is_news
    }

    /// Takes note of all sides of proofs at once.
    pub(crate) fn of_headers(headers: impl IntoIterator<Item = SignedHeader>) -> Self {
        let mut forks = Self::default();
        for header in headers {
            forks.add(hash(&header), header);
        }
        let sites: BTreeSet<SiteId> = forks.authors.keys().map(|author| author.site).collect();
        sites.into_iter().for_each(|site| forks.give_names(site));
        forks
    }

    /// Adds one side of a proof. Says whether it is new; then names are to be given.
    fn add(&mut self, hash: EntryHash, header: SignedHeader) -> bool {
        let of = self.authors.entry(header.0.author).or_default();
        let branches = of.points.entry(header.0.previous).or_default();
        branches.insert(hash, header).is_none()
    }

    /// Whether a proof would be news.
    pub(crate) fn is_news(&self, proof: &ForkProof) -> bool {
        let header = &proof.lower.0;
        let of = self.authors.get(&header.author);
        let branches = of.and_then(|of| of.points.get(&header.previous));
        let is_known = |hash| branches.is_some_and(|branches| branches.contains_key(hash));
        proof.headers().iter().any(|(hash, _)| !is_known(hash))
    }

    /// The branches behind an entry: the number of their first entries, and these; none where the log does not fork there.
    pub(crate) fn branches(
        &self,
        author: Author,
        previous: &EntryHash,
    ) -> impl Iterator<Item = (&EntryHash, &SignedHeader)> {
        let of = self.authors.get(&author);
        of.and_then(|of| of.points.get(previous)).into_iter().flatten()
    }

    /// Where an entry goes that follows `previous`, which is in the log `behind`.
    pub(crate) fn course(
        &self,
        author: Author,
        behind: Author,
        previous: &EntryHash,
        entry: &EntryHash,
    ) -> Course {
        match self.authors.get(&author) {
            Some(of) if of.points.contains_key(previous) => {
                of.names.get(entry).map_or(Course::Unknown, |name| Course::In(*name))
            }
            Some(_) | None => Course::In(behind),
        }
    }

    /// The branches: who signed, the number and hash of the first entry, the name.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Author, u64, EntryHash, Author)> + '_ {
        self.authors.iter().flat_map(|(author, of)| {
            let branches = of.points.values().flatten();
            branches.filter_map(|(hash, (header, _))| {
                Some((*author, header.seq, *hash, *of.names.get(hash)?))
            })
        })
    }

    /// Proofs of all of it: of each branch beside the first one.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = ForkProof> + '_ {
        let points = self.authors.values().flat_map(|of| of.points.values());
        points.flat_map(|branches| {
            let mut branches = branches.values();
            let lower = branches.next();
            branches.filter_map(move |higher| {
                Some(ForkProof { lower: lower?.clone(), higher: higher.clone() })
            })
        })
    }

    /// The first entries of all branches.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &EntryHash> {
        let points = self.authors.values().flat_map(|of| of.points.values());
        points.flat_map(BTreeMap::keys)
    }

    /// Names the branches of a site's logs. Where two would have one name, which takes some work to bring about, the later
    /// one by author and hash has another.
    fn give_names(&mut self, site: SiteId) {
        let mut taken: BTreeMap<Author, (Author, u64)> = BTreeMap::new();
        for (author, of) in self.authors.iter_mut().filter(|(author, _)| author.site == site) {
            let first = of.points.values().flatten();
            let first: BTreeMap<_, _> =
                first.map(|(hash, (header, _))| (*hash, header.seq)).collect();
            let mut names = BTreeMap::new();
            for (hash, seq) in first {
                let mut candidates = (0_u32..).map(|attempt| name_of(*author, &hash, attempt));
                if let Some(name) = candidates.find(|name| !taken.contains_key(name)) {
                    taken.insert(name, (*author, seq));
                    names.insert(hash, name);
                }
            }
            of.names = names;
        }
        self.branches.retain(|name, _| name.site != site);
        self.branches.extend(taken);
        self.actors = self.authors.keys().map(|author| ActorBytes(author.actor())).collect();
    }
}

fn name_of(author: Author, first: &EntryHash, attempt: u32) -> Author {
    let mut hasher = blake3::Hasher::new_derive_key("branchline 1 branch of a log");
    hasher.update(&author.to_bytes());
    hasher.update(&first.0);
    hasher.update(&attempt.to_be_bytes());
    let mut name = [0; 6];
    name.copy_from_slice(&hasher.finalize().as_bytes()[..6]);
    Author { incarnation: Incarnation::of_branch(name), ..author }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RealmId, SiteKey};
    use crate::log::entry::{Body, Draft};

    const REALM: RealmId = RealmId([7; 32]);

    fn author(by: u8) -> Author {
        Author { site: SiteKey::from_seed([by; 32]).site(), incarnation: Incarnation([1; 8]) }
    }

    fn signed(by: u8, seq: u64, previous: EntryHash, time_ms: i64) -> SignedHeader {
        let draft = Draft {
            realm: REALM,
            space: REALM.main_space(),
            author: author(by),
            seq,
            previous,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms,
        };
        let entry = draft.sign(&Body::Transactions(Vec::new()), &SiteKey::from_seed([by; 32]));
        (entry.header, entry.signature)
    }

    const BEFORE: EntryHash = EntryHash([9; 32]);

    #[test]
    fn two_entries_under_one_number_are_a_proof_whichever_comes_first() {
        let (one, other) = (signed(1, 3, BEFORE, 1), signed(1, 3, BEFORE, 2));
        let fork = ForkProof::new(one.clone(), other.clone()).expect("a proof");
        assert_eq!(ForkProof::new(other, one), Some(fork.clone()));
        assert!(hash(&fork.lower) < hash(&fork.higher));
    }

    #[test]
    fn an_entry_is_no_proof_against_itself_nor_against_another_place_or_site() {
        let one = signed(1, 3, BEFORE, 1);
        assert_eq!(ForkProof::new(one.clone(), one.clone()), None);
        assert_eq!(ForkProof::new(one.clone(), signed(1, 4, BEFORE, 1)), None);
        assert_eq!(ForkProof::new(one.clone(), signed(1, 3, EntryHash([8; 32]), 1)), None);
        assert_eq!(ForkProof::new(one, signed(2, 3, BEFORE, 1)), None);
    }

    #[test]
    fn what_the_author_did_not_sign_is_no_proof() {
        let one = signed(1, 3, BEFORE, 1);
        let (header, _) = signed(1, 3, BEFORE, 2);
        let (_, of_other) = signed(2, 3, BEFORE, 2);
        assert_eq!(ForkProof::new(one, (header, of_other)), None);
    }

    /// The proofs of three branches behind one entry, by hash.
    fn three() -> ([EntryHash; 3], [ForkProof; 2]) {
        let mut branches: Vec<_> = (1..=3)
            .map(|time_ms| signed(1, 3, BEFORE, time_ms))
            .map(|it| (hash(&it), it))
            .collect();
        branches.sort_by_key(|(hash, _)| *hash);
        let [a, b, c] = [0, 1, 2].map(|at| branches[at].clone());
        let proof = |one: &SignedHeader, other: &SignedHeader| {
            ForkProof::new(one.clone(), other.clone()).expect("a proof")
        };
        ([a.0, b.0, c.0], [proof(&a.1, &b.1), proof(&b.1, &c.1)])
    }

    #[test]
    fn names_follow_from_the_known_forks_whatever_came_first() {
        let ([a, b, c], [ab, bc]) = three();
        let (mut one, mut other) = (Forks::default(), Forks::default());
        assert!(one.learn(&ab) && one.learn(&bc) && !one.learn(&ab));
        assert!(other.learn(&bc));
        let by = author(1);
        let course = |forks: &Forks, entry| forks.course(by, by, &BEFORE, entry);
        assert_eq!(course(&other, &a), Course::Unknown);
        let known = [&b, &c].map(|entry| course(&other, entry));
        assert!(other.is_news(&ab) && other.learn(&ab) && !other.is_news(&ab));
        assert_eq!(known, [&b, &c].map(|entry| course(&other, entry)), "no name changes");
        for forks in [&one, &other] {
            let names = [&a, &b, &c].map(|it| match course(forks, it) {
                Course::In(name) => name,
                Course::Unknown => panic!("all are known"),
            });
            assert_eq!(BTreeSet::from(names).len(), 3);
            for name in names {
                assert!(name.incarnation.is_of_branch());
                assert_eq!((forks.signed(name), forks.first(&name)), (by, 3));
            }
            assert_eq!((forks.signed(by), forks.first(&by)), (by, 1));
            assert_eq!(forks.names(by).count(), 4);
            assert_eq!(forks.proofs().count(), 2);
        }
        assert!(one.named().eq(other.named()));
        let elsewhere = one.course(by, by, &EntryHash([8; 32]), &b);
        assert_eq!(elsewhere, Course::In(by), "the log forks only behind that entry");
    }
}
