//! What a member that is not in a space may try against it.

use super::pair::Pair;
use branchline_crdt::bundle::Piece;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry, RecordWrite, Transaction};
use branchline_crdt::membership::{Admission, Grant, Operation, Role, SpaceDocument, Ticket};
use branchline_crdt::protocol::{
    Answer, Gossip, Have, Invitation, Outcome, Pull, Request, pack_entries,
};
use branchline_crdt::record::{ActorBytes, Document, Edit};
use branchline_crdt::replica::{Decision, Input, Merged, Now, Output, SpaceDecision};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::json;

const NOW: Now = Now { wall_ms: 0, monotonic_ms: 0 };
const HEAD: usize = 0;
const NORTH: usize = 1;

/// Head and north, in step, and a space that head alone is in.
fn with_space() -> (Pair, RealmId) {
    let mut pair = Pair::new();
    pair.pass(2_000);
    let name = "tills".to_owned();
    pair.input(
        HEAD,
        Input::Decide { id: 1, decision: Decision::CreateSpace { name, nonce: [5; 16] } },
    );
    pair.settle();
    let realm = pair.replicas[HEAD].spaces()[0].realm;
    (pair, realm)
}

/// What an office answers, and asks, when the other sends it a request.
fn ask(pair: &mut Pair, office: usize, request: &Request) -> (Option<Answer>, Vec<Request>) {
    let from = pair.site(1 - office);
    pair.input(office, Input::Request { from, token: 77, body: codec::encode(request) });
    pair.replicas[office].commit().unwrap();
    let (mut answer, mut asked) = (None, Vec::new());
    while let Some(output) = pair.replicas[office].output() {
        match output {
            Output::Respond { token: 77, body } => {
                answer = Some(codec::decode("answer", &body).unwrap());
            }
            Output::Request { body, .. } => asked.push(codec::decode("request", &body).unwrap()),
            _ => {}
        }
    }
    (answer, asked)
}

/// An entry of one record by north's hand.
fn entry(network: RealmId, space: SpaceId) -> Entry {
    let key = SiteKey::from_seed([NORTH as u8 + 1; 32]);
    let author = Author { site: key.site(), incarnation: Incarnation([66; 8]) };
    let edit = Edit::Put(json!({"a": 1}).as_object().unwrap().clone());
    let edited = Document::empty().edit(ActorBytes(author.actor()), 0, &edit, None);
    let change = edited.unwrap().unwrap().change;
    let write = RecordWrite { collection: "sales".into(), id: "forged".into(), change };
    let transaction = Transaction { origin: None, changes: vec![write] };
    let (past, membership_past) = (Vec::new(), Vec::new());
    let (seq, previous, time_ms) = (1, EntryHash::NONE, 0);
    let draft =
        Draft { realm: network, space, author, seq, previous, past, membership_past, time_ms };
    draft.sign(&Body::Transactions(vec![transaction]), &key)
}

fn merge(pair: &mut Pair, office: usize, piece: Piece) -> Merged {
    let maker = pair.site(1 - office);
    pair.replicas[office].merge(maker, piece.prepare(), NOW).unwrap().unwrap()
}

fn shows(pair: &Pair, office: usize, space: SpaceId) -> bool {
    let (collection, id) = ("sales".to_owned(), "forged".to_owned());
    let key = RecordKey { space, collection, id };
    read::record(pair.replicas[office].store(), &key).unwrap().is_some()
}

#[test]
fn who_guesses_a_space_is_told_what_everybody_is_told_of_none() {
    let (mut pair, realm) = with_space();
    let pull = |space: SpaceId| {
        let have = Have::Frontier { parts: None, known: Vec::new(), after: None };
        Request::Pull(Pull { space, have, receipts: [0; 8], shared: [9; 8], bytes_max: u32::MAX })
    };
    let (of_none, _) = ask(&mut pair, HEAD, &pull(SpaceId([1; 16])));
    assert_eq!(of_none, Some(Answer::of(Outcome::UnknownSpace)));
    for space in [realm.main_space(), realm.membership_space()] {
        let (answer, asked) = ask(&mut pair, HEAD, &pull(space));
        assert_eq!(answer, of_none);
        assert_eq!(asked, []);
    }
    // Saying that there is news makes nobody ask back.
    let reported = ask(&mut pair, HEAD, &Request::Notify(Gossip::Hint(realm.main_space())));
    assert_eq!(reported, (Some(Answer::of(Outcome::UpToDate)), Vec::new()));
    // Nor does a pull of the members invite who is not let in.
    let network = pair.replicas[HEAD].realms().network().unwrap();
    let (answer, _) = ask(&mut pair, HEAD, &pull(network.membership_space()));
    assert_eq!(answer.unwrap().invitations, []);
}

#[test]
fn what_somebody_writes_into_a_space_that_he_is_not_in_is_refused() {
    let (mut pair, realm) = with_space();
    let network = pair.replicas[HEAD].realms().network().unwrap();
    let forgeries = [
        entry(realm, realm.main_space()),
        // Under the network, of which north is a member, into the space; and the other way round.
        entry(network, realm.main_space()),
        entry(realm, network.main_space()),
        entry(realm, realm.membership_space()),
    ];
    for forgery in &forgeries {
        let merged = merge(&mut pair, HEAD, Piece::Entries(pack_entries([forgery])));
        assert_eq!((merged.new, merged.known), (0, 0));
        ask(&mut pair, HEAD, &Request::Notify(Gossip::Entry(forgery.bytes().to_vec())));
    }
    for space in [realm.main_space(), network.main_space()] {
        assert!(!shows(&pair, HEAD, space));
    }
    assert_eq!(pair.replicas[HEAD].spaces()[0].entries, 0);
}

#[test]
fn a_space_is_entered_on_proof_alone() {
    let (mut pair, realm) = with_space();
    let network = pair.replicas[HEAD].realms().network().unwrap();
    let document = |network| SpaceDocument {
        network,
        name: "trap".to_owned(),
        creator: SiteKey::from_seed([HEAD as u8 + 1; 32]).site(),
        time_ms: 0,
        nonce: [6; 16],
    };
    let unproven = [
        Invitation { document: document(network), entries: Vec::new() },
        Invitation { document: document(network), entries: vec![1, 2, 3] },
        Invitation { document: document(RealmId([8; 32])), entries: Vec::new() },
        Invitation {
            document: document(network),
            entries: pack_entries(&[entry(realm, realm.membership_space())]),
        },
    ];
    for invitation in unproven {
        merge(&mut pair, NORTH, Piece::Space(Box::new(invitation)));
        assert_eq!(pair.replicas[NORTH].spaces(), []);
    }
    // The proof is what the space's admin has written, and the link brings it.
    let site = pair.site(NORTH);
    let decision = SpaceDecision::Grant { site, role: Role::Writer };
    pair.input(HEAD, Input::Decide { id: 2, decision: Decision::InSpace { realm, decision } });
    pair.settle();
    pair.pass(1_000);
    assert_eq!(pair.replicas[NORTH].spaces()[0].realm, realm);
}

/// An invitation of head to a space that a site says it has made.
fn invitation(creator: &SiteKey, network: RealmId, name: &str, number: u16) -> Invitation {
    let mut nonce = [6; 16];
    nonce[..2].copy_from_slice(&number.to_be_bytes());
    let (name, creator_site) = (name.to_owned(), creator.site());
    let document = SpaceDocument { network, name, creator: creator_site, time_ms: 0, nonce };
    let (realm, secret) = (document.realm(), SiteKey::from_seed([77; 32]));
    let grant = Grant::sign(realm, secret.site(), Role::Writer, i64::MAX, creator);
    let ticket = Ticket { grant, secret, inviter: creator.site(), addresses: Vec::new() };
    let head = SiteKey::from_seed([HEAD as u8 + 1; 32]).site();
    let admission = Admission::sign(&ticket, head, "head");
    let draft = Draft {
        realm,
        space: realm.membership_space(),
        author: Author { site: creator.site(), incarnation: Incarnation([66; 8]) },
        seq: 1,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    };
    let entry = draft.sign(&Body::Membership(vec![Operation::Admit(admission)]), creator);
    Invitation { document, entries: pack_entries(&[entry]) }
}

fn spaces_of_head(pair: &Pair) -> Vec<String> {
    pair.replicas[HEAD].spaces().into_iter().map(|space| space.name).collect()
}

#[test]
fn only_spaces_of_admins_are_entered_under_names_that_are_some() {
    let mut pair = Pair::new();
    pair.pass(2_000);
    let network = pair.replicas[HEAD].realms().network().unwrap();
    let north = SiteKey::from_seed([NORTH as u8 + 1; 32]);
    let enter = |pair: &mut Pair, name: &str, number| {
        let invitation = invitation(&north, network, name, number);
        merge(pair, HEAD, Piece::Space(Box::new(invitation)));
    };
    enter(&mut pair, "trap", 1);
    assert_eq!(spaces_of_head(&pair), [""; 0], "north is a writer");
    let decision = Decision::ChangeRole { site: north.site(), role: Role::Admin };
    pair.input(HEAD, Input::Decide { id: 1, decision });
    pair.settle();
    for name in ["main", "Tills", "two words", "\u{202e}tills"] {
        enter(&mut pair, name, 1);
    }
    assert_eq!(spaces_of_head(&pair), [""; 0]);
    enter(&mut pair, "tills", 1);
    assert_eq!(spaces_of_head(&pair), ["tills"]);
}

#[test]
fn no_admin_takes_up_the_room_for_the_spaces_of_others() {
    let mut pair = Pair::new();
    pair.pass(2_000);
    let network = pair.replicas[HEAD].realms().network().unwrap();
    let north = SiteKey::from_seed([NORTH as u8 + 1; 32]);
    let decision = Decision::ChangeRole { site: north.site(), role: Role::Admin };
    pair.input(HEAD, Input::Decide { id: 1, decision });
    pair.settle();
    for number in 0..600 {
        let invitation = invitation(&north, network, "flood", number);
        merge(&mut pair, HEAD, Piece::Space(Box::new(invitation)));
    }
    assert_eq!(spaces_of_head(&pair).len(), 512);
    let name = "tills".to_owned();
    let decision = Decision::CreateSpace { name, nonce: [5; 16] };
    pair.input(HEAD, Input::Decide { id: 2, decision });
    pair.settle();
    assert!(spaces_of_head(&pair).contains(&"tills".to_owned()));
}
