//! What is done by buttons, with scripts and without.

use super::browser::{Browser, Wanted, is_there};
use super::{Scene, base};

#[test]
fn a_conflict_is_settled_by_a_click_and_taken_back_by_another() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    // Each finds a conflict that the one before has left.
    for (wanted, id, all, left) in [
        (Wanted::default(), "assam", "2 records with conflicts", "1 record with conflicts"),
        (
            Wanted { no_scripts: true, ..Wanted::default() },
            "mate",
            "1 record with conflicts",
            "Nothing to settle",
        ),
    ] {
        let browser = Browser::start(wanted);
        let link = scene.link();
        browser.go(&link);
        browser.go(&format!("{}/conflicts", base(&link)));
        browser.shows(all);
        let before = scene.head.run(["get", "products", id]).ok();
        // The second value of the first conflict is the one that is not shown.
        browser.press(".conflict .choice:nth-child(2) button");
        browser.shows("is settled");
        browser.shows(left);
        let settled = scene.head.run(["get", "products", id]).ok();
        assert_ne!(settled, before);
        browser.press(".notice.good form[action='/conflicts/undo'] button");
        browser.shows("shows again what it showed before");
        let undone = scene.head.run(["get", "products", id]).ok();
        assert_eq!(undone, before);
    }
}

#[test]
fn without_scripts_every_view_reads_and_a_record_is_edited() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted { no_scripts: true, ..Wanted::default() });
    let link = scene.link();
    let base = base(&link).to_owned();
    browser.go(&link);
    for (view, text) in [
        ("/", "42.5"),
        ("/why", "Not in step"),
        ("/conflicts", "Take this"),
        ("/records", "products"),
        ("/records/products", "Sencha"),
        ("/record/products/sencha", "Who has it"),
        ("/jobs", "No bridges"),
        ("/network", "Tickets"),
    ] {
        browser.go(&format!("{base}{view}"));
        browser.shows(text);
    }
    browser.go(&format!("{base}/record/products/sencha/edit"));
    browser.type_into("input[name='value:name']", "Sencha <b>fine</b>");
    browser.press("main button.primary");
    browser.shows("Saved: name");
    browser.shows("Sencha <b>fine</b>");
    assert!(scene.head.run(["get", "products", "sencha"]).ok().contains("Sencha <b>fine</b>"));
    browser.press("button.danger");
    browser.shows("This record is deleted");
    browser.press("form[action*='undelete'] button");
    browser.shows("came back");
}

#[test]
fn a_ticket_that_the_page_shows_lets_an_office_in() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    browser.go(&link);
    browser.go(&format!("{}/network", base(&link)));
    browser.press("form[action='/network/tickets'] button");
    browser.shows("It lets one office join as writer");
    let ticket = browser.run("return document.querySelector('main .command').innerText");
    assert_eq!(browser.run("return document.querySelectorAll('svg.qr path').length"), 1);
    let mut south = branchline_tests::Office::init(
        crate::PROGRAM,
        scene.head.data.parent().unwrap(),
        "south",
        false,
    );
    south.start();
    south.run(["join", ticket.as_str().unwrap().trim()]).ok();
    browser.go(&format!("{}/network", base(&link)));
    browser.shows("3 members");
    browser.press("form[action='/network/tickets'] button");
    browser.shows("It lets one office join as writer");
    browser.go(&format!("{}/network", base(&link)));
    browser.press("form[action='/network/tickets/withdraw'] button");
    browser.shows("The ticket is withdrawn");
}
