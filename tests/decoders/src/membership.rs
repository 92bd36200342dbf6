//! Membership operations of every kind that a member signs, and what the members are by them.

use arbitrary::Unstructured;
use branchline_crdt::format::codec;
use branchline_crdt::format::pack;
use branchline_crdt::ids::{Incarnation, SiteKey};
use branchline_crdt::log::entry::{Body, Entry};
use branchline_crdt::membership::{
    Admission, Cut, FormerKey, Grant, Members, OpenTicket, Operation, Revocation, Role, RoleChange,
    Rotation, Ticket, Vouch,
};
use branchline_crdt::protocol::Gossip;
use branchline_crdt::replica::Input;
use branchline_crdt::store::ReadJournal;

use crate::members::members;
use crate::network::{Network, at, forge, key, network, open};
use crate::{Memory, Target};

pub(crate) const MEMBERSHIP: Target = Target {
    name: "membership",
    run: membership,
    seeds: || {
        let decided = (0..7).map(|kind| {
            // Behind the liar's admission as an admin, by the founder.
            let admit = [2, 1, 0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 13];
            [&admit[..], &[1, 2, 3, 1, 9, 9, 9, 9, 9, 9, 9, 9, 1, 0, kind, 2, 3, 3]].concat()
        });
        [vec![[2; 60].to_vec(), (0..120).collect(), vec![1; 100]], decided.collect()].concat()
    },
    memory: Memory { mib: 128, per_byte: 4096 },
};

/// Membership operations of all kinds that a member signs: whoever gets the same entries has the same members, in whatever
/// order these come, and an admission that nobody of the network granted makes no member.
fn membership(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let (mut entries, mut all) = (Vec::new(), Vec::new());
    for life in 0..6 {
        let Ok(operations) = operations(&mut input) else { break };
        all.extend(operations.iter().cloned());
        let Network { id, liar, .. } = network();
        let mut header = forge::header(*id, liar);
        header.space = id.membership_space();
        header.author.incarnation = Incarnation([life; 8]);
        let payload = codec::encode(&Body::Membership(operations));
        entries.push(forge::sign(header, liar, &pack::pack(&payload)));
    }
    let fed = |entries: &mut dyn Iterator<Item = &Vec<u8>>| {
        let mut replica = open(1, network().head.clone());
        for entry in entries {
            let data = codec::encode(&Gossip::Entry(entry.clone()));
            let gossip = Input::Gossip { from: key(3).site(), token: 1, data };
            replica.handle(gossip, at(2)).expect("the store works");
            assert!(replica.commit().expect("the store works"));
        }
        replica
    };
    assert_eq!(
        folded(&mut entries.iter()),
        folded(&mut entries.iter().rev()),
        "the order of arrival shows"
    );
    let one = fed(&mut entries.iter());
    // What an office holds it vouches for before a decision: offices that hear in other orders hold other entries.
    if !all.iter().any(is_of_standing) {
        let other = fed(&mut entries.iter().rev());
        assert_eq!(members(&one), members(&other), "the order of arrival shows");
    }
    let known = one.realms().members().expect("a network");
    for member in known.all().values() {
        assert_eq!(known.ever(&member.invited_by), Some(Role::Admin), "no admin let it in");
    }
    let before = members(&one);
    let store = one.into_store();
    assert!(store.applied().expect("the store works").is_some());
    assert_eq!(members(&open(1, store.without_tables())), before);
}

/// Who is a member, and who was, by the entries of the network and these.
fn folded(entries: &mut dyn Iterator<Item = &Vec<u8>>) -> String {
    let Network { id, genesis, entries: before, .. } = network();
    let mut members = Members::new(*id, Some(genesis.clone()));
    for bytes in before.iter().chain(entries) {
        let entry = Entry::decode(bytes).expect("an entry");
        if let Ok(Body::Membership(operations)) = entry.body() {
            members.extend([(&entry, operations)]);
        }
    }
    let outcome = |members: &Members| {
        format!("{:?} {:?} {:?}", members.all(), members.revoked(), members.disputed())
    };
    let found = outcome(&members);
    assert_eq!(found, outcome(&members.judged_anew()), "each step comes to what all comes to");
    found
}

/// Whether it takes something from a site, or vouches for it.
fn is_of_standing(operation: &Operation) -> bool {
    match operation {
        Operation::Revoke(_)
        | Operation::ChangeRole(_)
        | Operation::Vouch(_)
        | Operation::Rotate(_) => true,
        Operation::Admit(_)
        | Operation::Rename { .. }
        | Operation::Invite(_)
        | Operation::Withdraw { .. } => false,
    }
}

/// Membership operations of the liar, rightly signed by the one whom they name, mostly.
pub(crate) fn operations(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Operation>> {
    let count = input.arbitrary::<u8>()? % 6;
    (0..count).map(|_| operation(input)).collect()
}

/// Half of them are admissions, on which the others hang.
const KINDS: u8 = 14;

fn operation(input: &mut Unstructured<'_>) -> arbitrary::Result<Operation> {
    let Network { id, liar, .. } = network();
    let admission = admission(input)?;
    let site = admission.site;
    Ok(match input.arbitrary::<u8>()? % KINDS {
        0 => Operation::Withdraw { ticket: admission.grant.ticket },
        1 => {
            let (grant, places) = (admission.grant, input.arbitrary()?);
            Operation::Invite(OpenTicket { grant, places, note: admission.name })
        }
        2 => Operation::Revoke(Revocation::sign(*id, site, cut(input)?, liar)),
        3 => {
            let role = admission.grant.role;
            Operation::ChangeRole(RoleChange { site, role, held: cut(input)? })
        }
        4 => Operation::Rename { site, name: admission.name },
        5 => Operation::Vouch(Vouch { site, held: cut(input)? }),
        6 => {
            let to = key(input.arbitrary::<u8>()? % 8);
            let FormerKey { site: from, word } = FormerKey::sign(*id, liar, to.site());
            let consent = Rotation::consent(*id, from, &to);
            Operation::Rotate(Rotation { from, to: to.site(), held: cut(input)?, consent, word })
        }
        _ => Operation::Admit(admission),
    })
}

/// How far the logs of an office go, by the liar's word.
fn cut(input: &mut Unstructured<'_>) -> arbitrary::Result<Cut> {
    let spaces = [network().id.membership_space(), network().id.main_space()];
    let incarnation = Incarnation([input.arbitrary::<u8>()? % 8; 8]);
    let mut seq = || Ok(u64::from(input.arbitrary::<u8>()? % 8));
    let seqs = [seq()?, seq()?];
    Ok(Cut::new(spaces.map(|space| (space, incarnation)).into_iter().zip(seqs)))
}

fn admission(input: &mut Unstructured<'_>) -> arbitrary::Result<Admission> {
    const ROLES: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];
    const NAMES: [&str; 5] = ["head", "office", "", "a\nb", "south"];
    let network = network();
    // The founder, the liar, sites that may become members, and one that may not.
    let issuer = SiteKey::from_seed([input.arbitrary::<u8>()? % 8; 32]);
    let secret = SiteKey::from_seed([20 + input.arbitrary::<u8>()? % 8; 32]);
    let site = key(input.arbitrary::<u8>()? % 8).site();
    let role = *input.choose(&ROLES)?;
    let grant = Grant::sign(network.id, secret.site(), role, input.arbitrary()?, &issuer);
    let ticket = Ticket { grant, secret, inviter: issuer.site(), addresses: Vec::new() };
    let mut admission = Admission::sign(&ticket, site, input.choose(&NAMES)?);
    match input.arbitrary::<u8>()? {
        0..=220 => {}
        221..=230 => admission.signature.0[7] ^= 1,
        231..=240 => admission.grant.signature.0[7] ^= 1,
        _ => admission.grant.role = Role::Admin,
    }
    Ok(admission)
}
