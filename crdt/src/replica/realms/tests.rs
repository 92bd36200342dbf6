//! Realms as a site holds them, without a replica around them.

use std::collections::BTreeMap;

use super::{Decider, Realms};
use crate::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey};
use crate::log::entry::{Body, Draft, Entry};
use crate::log::receipt::{Held, Receipt};
use crate::membership::{
    Admission, Genesis, Grant, Operation, Role, SpaceDocument, Ticket, admission_by,
};
use crate::replica::decision::{Decision, DecisionError, SpaceDecision};
use crate::store::tables::logs::LogRow;

fn key(number: u8) -> SiteKey {
    SiteKey::from_seed([number; 32])
}

fn site(number: u8) -> SiteId {
    key(number).site()
}

fn author(number: u8) -> Author {
    Author { site: site(number), incarnation: Incarnation([1; 8]) }
}

/// A network of sites by number, of which 1 is the founder, and what one of them holds.
struct Land {
    realms: Realms,
    own: u8,
    network: RealmId,
    /// The last entry of each author in each realm.
    tips: BTreeMap<(RealmId, u8), (u64, EntryHash)>,
}

impl Land {
    fn new(own: u8) -> Self {
        let founders = vec![(site(1), "head".to_owned())];
        let genesis = Genesis { founders, time_ms: 0, nonce: [7; 16] };
        let network = genesis.network();
        let mut realms = Realms::new(site(own));
        assert!(realms.enter_network(network, Some(genesis), None));
        Self { realms, own, network, tips: BTreeMap::new() }
    }

    /// One with north, a writer, and south, an admin, as 2 and 3.
    fn of_three(own: u8) -> Self {
        let mut land = Self::new(own);
        for (number, name, role) in [(2, "north", Role::Writer), (3, "south", Role::Admin)] {
            let admission = land.admission(number, name, role);
            land.says(land.network, 1, Operation::Admit(admission));
        }
        land
    }

    fn ticket(&self, number: u8, role: Role) -> Ticket {
        let secret = key(100 + number);
        let grant = Grant::sign(self.network, secret.site(), role, 0, &key(1));
        Ticket { grant, secret, inviter: site(1), addresses: Vec::new() }
    }

    fn admission(&self, number: u8, name: &str, role: Role) -> Admission {
        Admission::sign(&self.ticket(number, role), site(number), name)
    }

    /// A site writes an operation, which comes to be held.
    fn says(&mut self, realm: RealmId, by: u8, operation: Operation) -> bool {
        let space = realm.membership_space();
        let tips = self
            .realms
            .logs(space)
            .into_iter()
            .flat_map(|logs| logs.frontier().tips().collect::<Vec<_>>());
        let past = tips.filter(|tip| tip.author != author(by)).collect();
        let (seq, previous) = self.tips.get(&(realm, by)).copied().unwrap_or((0, EntryHash::NONE));
        let draft = Draft {
            realm,
            space,
            author: author(by),
            seq: seq + 1,
            previous,
            past,
            membership_past: Vec::new(),
            time_ms: 0,
        };
        let entry = draft.sign(&Body::Membership(vec![operation]), &key(by));
        self.tips.insert((realm, by), (seq + 1, entry.hash));
        self.holds(&entry);
        self.realms.get_mut(realm).unwrap().learn([&entry].into_iter()).is_some()
    }

    fn holds(&mut self, entry: &Entry) {
        let header = &entry.header;
        let (seq, hash) = (header.seq, entry.hash);
        let row = LogRow { seq, hash, applied: seq, applied_hash: hash, predecessor: None };
        self.realms.logs_mut(header.space).unwrap().note(header.author, row);
    }

    /// So many entries of a site's records in a realm are held.
    fn holds_records(&mut self, realm: RealmId, of: u8, seq: u64) {
        let hash = EntryHash([of; 32]);
        let row = LogRow { seq, hash, applied: seq, applied_hash: hash, predecessor: None };
        self.realms.logs_mut(realm.main_space()).unwrap().note(author(of), row);
    }

    /// A site says what it holds of a realm's records.
    fn receipt(&mut self, realm: RealmId, of: u8) {
        let receipt = Receipt::sign(realm, realm.main_space(), 1, Held::default(), 0, &key(of));
        let receipts = self.realms.receipts_mut(realm.main_space()).unwrap();
        receipts.by_site.insert(site(of), receipt);
    }

    /// A private space that a site makes.
    fn space(&mut self, name: &str, creator: u8) -> RealmId {
        let (network, creator, name) = (self.network, site(creator), name.to_owned());
        let document = SpaceDocument { network, name, creator, time_ms: 0, nonce: [3; 16] };
        let realm = document.realm();
        assert!(self.realms.enter_space(document));
        realm
    }

    fn admits(&mut self, realm: RealmId, by: u8, number: u8, role: Role) {
        let admission = admission_by(realm, site(number), "x", role, &key(by));
        assert!(self.says(realm, by, Operation::Admit(admission)));
    }

    fn decides<T>(
        &self,
        decide: impl FnOnce(&Realms, Decider<'_>) -> Result<T, DecisionError>,
    ) -> Result<T, DecisionError> {
        let key = key(self.own);
        decide(&self.realms, Decider { key: &key, author: author(self.own) })
    }

    fn revokes(&mut self, realm: RealmId, by: u8, number: u8) {
        let own = std::mem::replace(&mut self.realms.own, site(by));
        let decider = Decider { key: &key(by), author: author(by) };
        let decided = self.realms.decide_revocation(decider, realm, site(number));
        self.realms.own = own;
        assert!(self.says(realm, by, decided.unwrap()));
    }
}

#[test]
fn nothing_is_known_before_a_network_is() {
    let mut realms = Realms::new(site(1));
    assert_eq!((realms.network(), realms.role(), realms.revoked_by()), (None, None, None));
    assert!(realms.joined().is_empty() && realms.spaces().is_empty() && !realms.is_member());
    assert_eq!(realms.admitted(), None);
    assert!(matches!(realms.network_to_decide(), Err(DecisionError::NoMember)));
}

#[test]
fn a_network_is_entered_once_and_keeps_what_is_held_when_its_document_comes() {
    let mut land = Land::new(1);
    land.holds_records(land.network, 1, 5);
    let genesis = land.realms.genesis().cloned();
    assert!(!land.realms.enter_network(land.network, genesis, None));
    assert_eq!(land.realms.count(land.network.main_space()).own, 5);
    assert_eq!(land.realms.spaces().len(), 2);
}

#[test]
fn a_space_is_of_the_realm_that_it_belongs_to() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    for realm in [land.network, prices] {
        for space in realm.spaces() {
            assert_eq!(land.realms.realm_of(space), Some(realm));
            assert!(land.realms.logs(space).is_some());
        }
    }
    assert_eq!(land.realms.realm_of(RealmId([9; 32]).main_space()), None);
    assert_eq!(land.realms.frontier(RealmId([9; 32]).main_space()), None);
    assert_eq!(land.realms.spaces().len(), 4);
}

#[test]
fn a_site_with_a_ticket_has_its_role_until_it_is_a_member() {
    let mut land = Land::new(2);
    let genesis = land.realms.genesis().cloned();
    let ticket = land.ticket(2, Role::Writer);
    land.realms.enter_network(land.network, genesis, Some(ticket));
    assert_eq!((land.realms.role(), land.realms.is_member()), (Some(Role::Writer), false));
    assert!(land.realms.has_ticket_to_present());
    let admission = land.admission(2, "north", Role::Writer);
    assert!(land.says(land.network, 1, Operation::Admit(admission)));
    assert!(land.realms.is_member() && !land.realms.has_ticket_to_present());
    assert!(land.realms.ticket().is_none() && land.realms.take_ticket().is_some());
}

#[test]
fn learning_says_who_the_members_were_and_nothing_where_none_came_or_went() {
    let mut land = Land::of_three(1);
    let network = land.network;
    let admission = land.admission(4, "west", Role::Reader);
    let draft = Draft {
        realm: network,
        space: network.membership_space(),
        author: author(1),
        seq: 3,
        previous: land.tips[&(network, 1)].1,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    };
    let entry = draft.sign(&Body::Membership(vec![Operation::Admit(admission)]), &key(1));
    let before = land.realms.get_mut(network).unwrap().learn([&entry].into_iter()).unwrap();
    assert_eq!(before.len(), 3);
    assert_eq!(land.realms.members().unwrap().sites().len(), 4);
    let empty = land.realms.get_mut(network).unwrap().learn([].into_iter());
    assert!(empty.is_none());
}

#[test]
fn the_network_is_shared_with_all_and_a_private_space_with_those_who_are_in_it() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    land.admits(prices, 1, 2, Role::Reader);
    let shares = |number, realm: RealmId| land.realms.shares(site(number), realm.main_space());
    assert!(shares(2, land.network) && shares(3, land.network) && shares(9, land.network));
    assert!(shares(2, prices) && !shares(3, prices) && !shares(9, prices));
    assert!(!shares(2, RealmId([9; 32])), "it is not held");
    assert_eq!(land.realms.shared_with(site(2)), [prices]);
    assert_eq!(land.realms.shared_digest(site(3)), [0; 8]);
    assert_ne!(land.realms.shared_digest(site(2)), [0; 8]);
}

#[test]
fn who_is_no_member_of_the_network_any_more_is_in_none_of_its_spaces() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    land.admits(prices, 1, 2, Role::Writer);
    land.revokes(land.network, 1, 2);
    assert!(!land.realms.shares(site(2), prices.main_space()));
    // As an admin of the space, this site says so there too.
    let followed = land.decides(|realms, by| Ok(realms.revocations_to_follow(by))).unwrap();
    let [(realm, Operation::Revoke(revocation))] = &followed[..] else { panic!("{followed:?}") };
    assert_eq!((*realm, revocation.site), (prices, site(2)));
    let Operation::Revoke(revocation) = followed[0].1.clone() else { unreachable!() };
    land.says(prices, 1, Operation::Revoke(revocation));
    assert!(land.decides(|realms, by| Ok(realms.revocations_to_follow(by))).unwrap().is_empty());
}

#[test]
fn a_site_that_was_shut_out_is_in_a_realm_no_more_whoever_says_so() {
    let mut land = Land::of_three(2);
    let prices = land.space("prices", 1);
    land.admits(prices, 1, 2, Role::Writer);
    assert_eq!(land.realms.open(), [land.network, prices]);
    assert!(land.realms.get_mut(prices).unwrap().note_revoked_by(Some(site(1))));
    assert!(!land.realms.get_mut(prices).unwrap().note_revoked_by(Some(site(1))));
    assert_eq!(land.realms.open(), [land.network]);
    assert_eq!((land.realms.revoked_from(prices), land.realms.revoked_by()), (Some(site(1)), None));
    assert_eq!(
        land.realms.revoked_from(land.network),
        None,
        "of the network it is known otherwise"
    );
    assert_eq!(land.realms.admitted().unwrap().len(), 3);
    land.realms.get_mut(land.network).unwrap().note_revoked_by(Some(site(3)));
    assert_eq!(land.realms.revoked_by(), Some(site(3)));
    assert!(land.realms.admitted().unwrap().is_empty());
    assert!(matches!(land.realms.network_to_decide(), Err(DecisionError::Revoked { .. })));
}

#[test]
fn a_revocation_is_believed_of_a_member_that_shows_a_seniors_word() {
    let mut land = Land::of_three(2);
    let network = land.network;
    let by = |number| {
        land.decides(|_, _| {
            let mut realms = Land::of_three(number).realms;
            realms.own = site(number);
            let key = key(number);
            let decider = Decider { key: &key, author: author(number) };
            realms.decide_revocation(decider, network, site(2))
        })
    };
    let Ok(Operation::Revoke(word)) = by(1) else { panic!("head may") };
    assert!(land.realms.is_own_revocation(network, site(3), &word));
    assert!(!land.realms.is_own_revocation(network, site(9), &word), "a stranger shows it");
    assert!(!land.realms.is_own_revocation(RealmId([9; 32]), site(3), &word));
    assert!(matches!(by(3), Err(DecisionError::Senior { .. })), "north was there before south");
    let mut of_south = word.clone();
    of_south.issuer = site(3);
    assert!(!land.realms.is_own_revocation(network, site(1), &of_south));
    land.revokes(network, 1, 2);
    assert_eq!(land.realms.revoked_by(), Some(site(1)));
}

#[test]
fn admins_decide_of_those_who_came_after_them_and_of_nobody_else() {
    let land = Land::of_three(3);
    let network = land.network;
    let revokes =
        |number| land.decides(|realms, by| realms.decide_revocation(by, network, site(number)));
    assert!(matches!(revokes(1), Err(DecisionError::Senior { .. })));
    assert!(matches!(revokes(3), Err(DecisionError::Oneself)));
    assert!(matches!(revokes(9), Err(DecisionError::UnknownSite { .. })));
    let land = Land::of_three(2);
    let revoked = land.decides(|realms, by| realms.decide_revocation(by, network, site(3)));
    assert!(matches!(revoked, Err(DecisionError::Role { role: Role::Writer })));
    let land = Land::of_three(1);
    let role =
        |role| land.decides(|realms, by| realms.decide_role(by, network, site(2), role)).unwrap();
    assert_eq!(role(Role::Writer), None, "it is one");
    assert!(matches!(role(Role::Reader), Some(Operation::ChangeRole(_))));
}

#[test]
fn names_are_taken_once_and_a_site_names_itself() {
    let land = Land::of_three(2);
    let named = |number, name: &str| land.realms.decide_name(site(number), name.to_owned());
    assert!(matches!(named(2, "harbour"), Ok(Some(Operation::Rename { .. }))));
    assert!(matches!(named(2, "north"), Ok(None)));
    assert!(matches!(named(2, "south"), Err(DecisionError::NameTaken { .. })));
    assert!(matches!(named(3, "harbour"), Err(DecisionError::Role { .. })));
    assert_eq!(land.realms.name_of(site(3)), "south");
    assert_eq!(land.realms.name_of(site(9)), site(9).to_string());
}

#[test]
fn a_rotation_takes_the_consent_of_the_new_key_for_every_realm() {
    let mut land = Land::of_three(2);
    let prices = land.space("prices", 2);
    let Decision::Rotate { to, consents } = land.realms.rotation_to(&key(22)) else {
        panic!("a rotation");
    };
    assert_eq!(consents.keys().copied().collect::<Vec<_>>(), {
        let mut realms = vec![land.network, prices];
        realms.sort();
        realms
    });
    let rotated = land.decides(|realms, by| realms.decide_rotations(by, to, &consents)).unwrap();
    assert_eq!(rotated.len(), 2);
    let few = consents.iter().take(1).map(|(realm, word)| (*realm, *word)).collect();
    let refused = land.decides(|realms, by| realms.decide_rotations(by, to, &few));
    assert!(matches!(refused, Err(DecisionError::NotFresh)));
    let known = land.decides(|realms, by| realms.decide_rotations(by, site(3), &consents));
    assert!(matches!(known, Err(DecisionError::NotFresh)));
}

#[test]
fn the_last_admin_of_a_space_stays_and_so_does_who_holds_something_alone() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    let leaves = |land: &Land| {
        land.decides(|realms, by| realms.decide_in_space(by, prices, SpaceDecision::Leave))
    };
    assert!(matches!(leaves(&land), Err(DecisionError::LastAdmin)));
    land.admits(prices, 1, 3, Role::Admin);
    assert!(matches!(leaves(&land), Ok(Some(Operation::Revoke(_)))));
    land.holds_records(prices, 1, 4);
    assert!(matches!(leaves(&land), Err(DecisionError::OnlyHere { entries: 4 })));
    assert_eq!(land.realms.only_here(prices), 4);
}

#[test]
fn members_of_the_network_are_let_into_a_space_and_nobody_twice() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    let grants = |land: &Land, number, role| {
        let decision = SpaceDecision::Grant { site: site(number), role };
        land.decides(|realms, by| realms.decide_in_space(by, prices, decision))
    };
    assert!(matches!(grants(&land, 9, Role::Reader), Err(DecisionError::UnknownSite { .. })));
    assert!(matches!(grants(&land, 2, Role::Reader), Ok(Some(Operation::Admit(_)))));
    land.admits(prices, 1, 2, Role::Reader);
    assert!(matches!(grants(&land, 2, Role::Writer), Ok(Some(Operation::ChangeRole(_)))));
    assert!(matches!(grants(&land, 2, Role::Reader), Ok(None)));
    land.revokes(prices, 1, 2);
    assert!(matches!(grants(&land, 2, Role::Reader), Err(DecisionError::AlreadyRevoked { .. })));
    let decision = SpaceDecision::Revoke { site: site(3) };
    let refused = land.decides(|realms, by| realms.decide_in_space(by, prices, decision));
    assert!(matches!(refused, Err(DecisionError::NotInSpace { .. })));
    let decision = SpaceDecision::Leave;
    let refused = land.decides(|realms, by| realms.decide_in_space(by, land.network, decision));
    assert!(
        matches!(refused, Err(DecisionError::UnknownSpace)),
        "the network is no space in itself"
    );
}

#[test]
fn receipts_are_of_those_who_are_in_a_realm() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    land.admits(prices, 1, 2, Role::Writer);
    let network = land.network;
    for (realm, of) in [(network, 2), (network, 3), (prices, 2), (prices, 1)] {
        land.receipt(realm, of);
    }
    let count = |land: &Land, realm: RealmId| land.realms.receipts_of(realm.main_space()).len();
    land.revokes(prices, 1, 2);
    land.realms.retain_receipts_in(prices);
    assert_eq!((count(&land, network), count(&land, prices)), (2, 1));
    land.revokes(network, 1, 2);
    land.realms.retain_receipts_of_members();
    assert_eq!((count(&land, network), count(&land, prices)), (1, 1));
}

#[test]
fn what_others_said_outlives_all_else() {
    let mut land = Land::of_three(1);
    let prices = land.space("prices", 1);
    land.admits(prices, 1, 2, Role::Writer);
    let network = land.network;
    land.receipt(network, 2);
    land.receipt(network, 3);
    land.receipt(prices, 2);
    let receipts = land.realms.clear();
    assert_eq!((land.realms.network(), land.realms.spaces().len()), (None, 0));
    // Of what is held now north alone is known.
    let mut again = Land::new(1);
    let admission = again.admission(2, "north", Role::Writer);
    again.says(network, 1, Operation::Admit(admission));
    again.realms.take_up(receipts);
    let of = |realm: RealmId| {
        again.realms.receipts_of(realm.main_space()).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(of(network), [site(2)]);
    assert!(of(prices).is_empty(), "the space is not held any more");
}

#[test]
fn lag_is_told_of_the_others_and_this_site_comes_first() {
    let mut land = Land::of_three(2);
    let network = land.network;
    land.holds_records(network, 2, 3);
    land.receipt(network, 3);
    let sites = land.realms.sites_of(network, &|at| *at == site(3));
    let seen: Vec<_> = sites.iter().map(|it| (it.site, it.connected, it.lag_own_entries)).collect();
    assert_eq!(seen, [(site(2), true, Some(0)), (site(1), false, None), (site(3), true, Some(3))]);
    assert!(land.realms.sites_of(RealmId([9; 32]), &|_| true).is_empty());
}

#[test]
fn a_cut_holds_what_is_held_and_ones_own_word_covers_itself() {
    let mut land = Land::of_three(3);
    let network = land.network;
    land.holds_records(network, 2, 7);
    let cut = land.realms.held_of(network, site(2));
    assert!(cut.covers(network.main_space(), author(2), 7));
    assert!(!cut.covers(network.main_space(), author(2), 8));
    let rotated = land.decides(|realms, by| {
        let Decision::Rotate { to, consents } = realms.rotation_to(&key(33)) else {
            return Ok(Vec::new());
        };
        realms.decide_rotations(by, to, &consents)
    });
    let rotated = rotated.unwrap();
    let [(_, Operation::Rotate(rotation))] = &rotated[..] else { panic!("{rotated:?}") };
    assert!(rotation.held.covers(network.membership_space(), author(3), 1), "the entry to come");
}
