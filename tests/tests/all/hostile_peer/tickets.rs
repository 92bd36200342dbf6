//! A member that lets others in, whatever their tickets say.

use branchline_crdt::ids::SiteKey;
use branchline_crdt::log::entry::Body;
use branchline_crdt::membership::{Admission, Operation, Ticket};
use branchline_tests::{Office, converge, eventually};

use super::member::Traitor;
use crate::PROGRAM;

fn names(office: &Office, of: &str) -> Vec<String> {
    let members = office.get("/v1/members");
    let sites = members[of].as_array().unwrap().iter();
    sites.map(|site| site["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_member_that_keeps_to_no_rule_lets_nobody_in_by_tickets_that_are_over() {
    let mut traitor = Traitor::with_role("reader");
    let (head, north) = (&traitor.world.head, &traitor.world.north);
    // An admin lets a sleeper in, and keeps another ticket.
    let office = |name| {
        let mut office = Office::init(PROGRAM, traitor.world.folder.path(), name, false);
        office.start();
        office
    };
    let (mut east, mut sleeper) = (office("east"), office("sleeper"));
    let ticket = head.run(["invite", "--role", "admin"]).ok();
    east.run(["join", ticket.trim()]).ok();
    converge(&[head, north, &east]);
    sleeper.join(&east);
    let of_revoked = east.run(["invite", "--role", "admin"]).ok();
    converge(&[head, north, &east, &sleeper]);
    // Head withdraws what has expired, by its own clock alone.
    let night = ["invite", "--role", "admin", "--expires", "1s", "--note", "night shift"];
    let expired = head.run(night).ok();
    eventually("the ticket is withdrawn", || {
        !north.run(["invite", "list"]).ok().contains("night shift")
            && head.get("/v1/invites")["invites"].as_array().unwrap().len() == 1
    });
    let revoked = head.run(["revoke", "east", "--yes"]).stderr;
    assert!(revoked.contains("it let in sleeper, who stay"), "{revoked}");
    eventually("north knows", || names(north, "revoked") == ["east"]);
    assert!(names(head, "members").contains(&"sleeper".to_owned()));
    assert_eq!(head.get("/v1/invites")["invites"].as_array().unwrap().len(), 0);

    // Signed as if nothing of that had been heard.
    let tickets = [expired, of_revoked].map(|text| text.trim().parse::<Ticket>().unwrap());
    let admit = |(number, ticket): (u8, &Ticket)| {
        let site = SiteKey::from_seed([number; 32]).site();
        Operation::Admit(Admission::sign(ticket, site, &format!("friend {number}")))
    };
    let tickets = std::iter::once(&traitor.ticket).chain(&tickets);
    let operations: Vec<_> = (1..).zip(tickets).map(admit).collect();
    let space = traitor.network.membership_space();
    let entry = traitor.draft(space, [5; 8]).sign(&Body::Membership(operations), &traitor.signer());
    traitor.notify(&entry);
    // The entry says that its author had not heard of the revoked admin either: that friend is not even disputed.
    for office in [head, north] {
        eventually("two are disputed", || names(office, "disputed").len() == 2);
        let members = names(office, "members");
        assert!(!members.iter().any(|name| name.starts_with("friend")), "{members:?}");
    }
    let status = head.run(["status"]).ok();
    assert!(status.contains("site friend 2") && status.contains("it is not a member"), "{status}");

    // Whom the revoked one let in goes with it by choice.
    let revoked = head.run(["revoke", "--with-admitted", "east", "--yes"]).stderr;
    assert!(revoked.contains("revoked with it: sleeper"), "{revoked}");
    eventually("the sleeper is out", || !names(north, "members").contains(&"sleeper".to_owned()));
    for office in [&mut east, &mut sleeper] {
        assert_eq!(office.stop(), 0);
    }
    traitor.world.unharmed("admissions by tickets that are over");
}
