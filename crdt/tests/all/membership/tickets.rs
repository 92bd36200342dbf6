//! Tickets in the fold: who comes by one, and who comes too late.

use branchline_crdt::ids::SiteKey;
use branchline_crdt::membership::{
    Admission, Admitting, Cut, Grant, Members, NotAdmitted, OpenTicket, Operation, Role, Ticket,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Reported, SITES, author, key};

impl Reported {
    fn ticket(&self, by: u8, number: u8, role: Role) -> Ticket {
        let secret = SiteKey::from_seed([number; 32]);
        let grant = Grant::sign(self.0.network, secret.site(), role, 0, &key(by));
        Ticket { grant, secret, inviter: key(by).site(), addresses: Vec::new() }
    }

    fn invite(&mut self, by: u8, ticket: &Ticket, places: u16) {
        let grant = ticket.grant.clone();
        self.say(by, Operation::Invite(OpenTicket { grant, places, note: String::new() }));
    }

    fn take_up(&mut self, through: u8, ticket: &Ticket, site: u8) {
        let admission = Admission::sign(ticket, key(site).site(), "office");
        self.say(through, Operation::Admit(admission));
    }

    fn withdraw(&mut self, by: u8, ticket: &Ticket) {
        self.say(by, Operation::Withdraw { ticket: ticket.grant.ticket });
    }

    /// Who the members are after the entries in any order, and that they are the same after each.
    fn folded(&self) -> Members {
        let order: Vec<_> = (0..self.0.entries.len()).collect();
        let mut draw = SmallRng::seed_from_u64(0);
        let (expected, members) = self.0.fold(&order, &mut draw);
        for _ in 0..20 {
            let order = self.0.order(&mut draw);
            assert_eq!(self.0.fold(&order, &mut draw).0, expected);
        }
        members
    }

    fn disputed(&self) -> Vec<u8> {
        let members = self.folded();
        (0..SITES).filter(|site| members.disputed().contains_key(&key(*site).site())).collect()
    }

    fn records(&self, site: u8, last: u64) -> Cut {
        Cut::new([((self.0.network.main_space(), author(site).incarnation), last)])
    }
}

/// Head has let two in as a reader and three as a writer, and both know all that head knows.
fn reader_and_writer() -> Reported {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Reader);
    reported.admit(0, 3, Role::Writer);
    for site in 1..4 {
        reported.hear(site, 0);
    }
    reported
}

#[test]
fn a_ticket_that_is_used_up_admits_nobody_whoever_writes_that_down() {
    let mut reported = reader_and_writer();
    let ticket = reported.ticket(0, 100, Role::Admin);
    reported.invite(0, &ticket, 1);
    reported.take_up(0, &ticket, 4);
    reported.withdraw(0, &ticket);
    // By a member that says it knew of nothing, so that its entry comes first in the order.
    reported.take_up(2, &ticket, 5);
    assert_eq!(reported.members(), [0, 1, 2, 3, 4]);
    assert_eq!(reported.disputed(), [5]);
    // By one that knew, it is not even that.
    reported.hear(2, 0);
    reported.take_up(2, &ticket, 6);
    assert_eq!((reported.members(), reported.disputed()), (vec![0, 1, 2, 3, 4], vec![5]));
}

#[test]
fn of_what_a_disputed_site_wrote_counts_what_writers_vouch_for_and_nothing_that_admins_do() {
    let mut reported = reader_and_writer();
    let ticket = reported.ticket(0, 100, Role::Admin);
    reported.withdraw(0, &ticket);
    reported.take_up(2, &ticket, 5);
    reported.hear(3, 2);
    // It lets another in, and decides of one.
    reported.hear(5, 2);
    reported.admit(5, 6, Role::Admin);
    reported.revoke(5, 3);
    let all = |reported: &Reported, last| {
        let mut held = reported.held(2, 5);
        held.raise(&reported.records(5, last));
        held
    };
    reported.hear(2, 5);
    reported.vouch(2, 5, all(&reported, 9));
    let of_five = |reported: &Reported, seq| {
        let members = reported.folded();
        let space = reported.0.network.main_space();
        members.allowed(space, author(5), seq)
    };
    assert_eq!((reported.members(), of_five(&reported, 1)), (vec![0, 1, 2, 3], None));
    reported.vouch(3, 5, all(&reported, 4));
    assert_eq!((reported.members(), reported.disputed()), (vec![0, 1, 2, 3], vec![5]));
    assert_eq!(of_five(&reported, 4), Some(Role::Writer));
    assert_eq!(of_five(&reported, 5), None);
    // Who knows of the withdrawal speaks too late.
    reported.hear(3, 0);
    reported.vouch(3, 5, all(&reported, 8));
    assert_eq!(of_five(&reported, 5), None);
}

#[test]
fn the_ticket_of_an_admin_who_is_revoked_serves_nobody_whose_admission_the_revocation_does_not_follow()
 {
    let mut reported = reader_and_writer();
    reported.admit(0, 4, Role::Admin);
    for site in 1..5 {
        reported.hear(site, 0);
    }
    let [early, late, hidden] = [100, 101, 102].map(|it| reported.ticket(4, it, Role::Admin));
    reported.take_up(3, &early, 5);
    reported.hear(0, 3);
    reported.revoke(0, 4);
    reported.take_up(3, &late, 6);
    reported.take_up(2, &hidden, 7);
    assert_eq!((reported.members(), reported.disputed()), (vec![0, 1, 2, 3, 5], vec![6, 7]));
    let let_in = reported.folded().let_in_by(key(4).site());
    assert_eq!(let_in, [key(5).site()]);
}

#[test]
fn a_site_that_was_taken_in_by_mistake_is_admitted_by_an_admin_with_all_that_it_wrote() {
    let mut reported = reader_and_writer();
    let ticket = reported.ticket(0, 100, Role::Writer);
    // Two sides of a cut.
    reported.take_up(2, &ticket, 5);
    reported.take_up(3, &ticket, 6);
    let members = reported.members();
    assert_eq!(members.len(), 5, "{members:?}");
    let disputed = reported.disputed();
    let [disputed] = disputed[..] else { panic!("{disputed:?}") };
    reported.hear(0, 2);
    reported.hear(0, 3);
    let own = reported.ticket(0, 105, Role::Writer);
    reported.take_up(0, &own, disputed);
    assert_eq!((reported.members(), reported.disputed()), (vec![0, 1, 2, 3, 5, 6], vec![]));
    let (members, space) = (reported.folded(), reported.0.network.main_space());
    assert_eq!(members.allowed(space, author(disputed), 1), Some(Role::Writer));
}

#[test]
fn a_ticket_admits_as_many_sites_as_its_issuer_says() {
    let mut reported = reader_and_writer();
    let ticket = reported.ticket(0, 100, Role::Writer);
    reported.invite(0, &ticket, 2);
    reported.hear(3, 0);
    // Of a ticket of another's a member says nothing.
    reported.invite(3, &ticket, 9);
    for site in 4..7 {
        let before = reported.folded();
        let admission = Admission::sign(&ticket, key(site).site(), "office");
        match (site, before.examine(&admission)) {
            (4..6, examined) => assert_eq!(examined, Ok(Admitting::New)),
            (_, Err(NotAdmitted::Used { .. })) => {}
            (_, other) => panic!("{other:?}"),
        }
        reported.take_up(3, &ticket, site);
    }
    assert_eq!((reported.members(), reported.disputed()), (vec![0, 1, 2, 3, 4, 5], vec![]));
}

#[test]
fn a_revoked_site_is_not_admitted_again() {
    let mut reported = Reported::new();
    reported.admit(0, 2, Role::Writer);
    reported.revoke(0, 2);
    reported.admit(0, 2, Role::Admin);
    reported.admit(1, 2, Role::Admin);
    assert_eq!(reported.members(), [0, 1]);
}
