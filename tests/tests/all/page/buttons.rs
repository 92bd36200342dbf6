//! Each button of the views, in the browser: what it does is seen there, and at the office.

use std::path::{Path, PathBuf};

use branchline_tests::{Office, eventually};

use super::browser::{Browser, Wanted, is_there};
use super::{Scene, base};
use crate::PROGRAM;

struct Desk {
    scene: Scene,
    browser: Browser,
    base: String,
    downloads: tempfile::TempDir,
}

impl Desk {
    /// Somebody at head's page; `None`: there is no browser.
    fn new() -> Option<Self> {
        if !is_there() {
            return None;
        }
        let scene = Scene::new();
        let browser = Browser::start(Wanted::default());
        let link = scene.link();
        browser.go(&link);
        let downloads = tempfile::tempdir().unwrap();
        browser.download_to(downloads.path());
        let base = base(&link).to_owned();
        Some(Self { scene, browser, base, downloads })
    }

    fn go(&self, path: &str) {
        self.browser.go(&format!("{}{path}", self.base));
    }

    /// The file that the browser has downloaded, once it is whole.
    fn downloaded(&self, ending: &str) -> PathBuf {
        let found = || {
            let files = std::fs::read_dir(self.downloads.path()).unwrap();
            let mut paths = files.map(|file| file.unwrap().path());
            paths.find(|path| path.extension().is_some_and(|it| it == ending))
        };
        eventually("the file is there", || found().is_some());
        found().unwrap()
    }
}

#[test]
fn conflicts_are_found_by_collection_and_field_and_settled_many_at_once() {
    let Some(desk) = Desk::new() else { return };
    let browser = &desk.browser;
    browser.press("nav a[href='/conflicts']");
    browser.type_into("#of-field", "name");
    browser.press("form[role='search'] button");
    browser.shows("Nothing to settle");
    browser.press("form[role='search'] a");
    browser.choose("#of-collection", "products");
    browser.type_into("#of-field", "price");
    browser.press("form[role='search'] button");
    browser.shows("2 fields");
    browser.press("details summary");
    browser.type_into("#where", "name = 'Mate'");
    browser.press("form[action='/conflicts/settle-many'] button");
    browser.shows("1 field is settled");
    browser.hides("mate");
    browser.shows("assam");
    browser.press("form[action='/dismiss'] button");
    browser.hides("1 field is settled");
    // A record that one office deletes while the other edits it.
    desk.scene.head.run(["delete", "products", "mate"]).ok();
    desk.go("/conflicts?deleted=1");
    browser.shows("branchline conflicts --deleted");
    desk.go("/records");
    browser.press("td a[href='/records/products/deleted']");
    browser.shows("branchline list products --deleted");
    browser.press("td a[href='/record/products/mate']");
    browser.press("form[action*='undelete'] button");
    browser.shows("came back");
    assert!(desk.scene.head.has("products", "mate"));
    desk.go("/records/products/deleted");
    browser.shows("Nothing here fits");
}

#[test]
fn a_table_is_narrowed_ordered_summed_up_and_downloaded_by_hand() {
    let Some(desk) = Desk::new() else { return };
    let browser = &desk.browser;
    browser.press("nav a[href='/records']");
    browser.press("td a[href='/records/products']");
    browser.type_into("#where", "price >> 5");
    browser.press("form[role='search'] button");
    browser.shows("^");
    browser.type_into("#where", "price > 6");
    browser.press("form[role='search'] button");
    browser.hides("Mate");
    browser.shows("Total not known");
    browser.press(".pages a[href*='count=1']");
    browser.shows("2 in all");
    browser.press("th a[href*='order=price']");
    browser.press("th[aria-sort='ascending'] a");
    eventually("the order is the other way round", || {
        browser.count("th[aria-sort='descending']") == 1
    });
    browser.press("form[role='search'] details summary");
    browser.press("input[name='column'][value='shelf']");
    browser.press("form[role='search'] button");
    browser.shows("branchline list products --where");
}

#[test]
fn totals_lead_to_their_records() {
    let Some(desk) = Desk::new() else { return };
    let browser = &desk.browser;
    desk.go("/records/products");
    browser.type_into("#by", "name");
    browser.type_into("#sum", "shelf");
    browser.press("form[action='/records/products#totals'] button");
    browser.shows("3 groups");
    browser.shows("branchline summary products --by name --sum shelf");
    browser.press("table a[href*='Sencha']");
    browser.shows("1 on this page");
    browser.shows("Sencha");
    desk.go("/records/sales");
    browser.type_into("#month", "at");
    browser.press("form[action='/records/sales#totals'] button");
    browser.shows("the last 12 months");
    browser.press("tbody tr:first-child td.n a");
    browser.shows("1 on this page");
    browser.press("a[download]");
    let csv = std::fs::read_to_string(desk.downloaded("csv")).unwrap();
    assert!(csv.starts_with("id,amount,at\ns1,42.5,"), "{csv}");
}

#[test]
fn a_record_is_made_by_a_form() {
    let Some(desk) = Desk::new() else { return };
    let browser = &desk.browser;
    desk.go("/records/products");
    browser.press("a.button[href='/records/products/new']");
    browser.type_into("#id", "oolong/1");
    browser.press("details summary");
    browser.type_into("#new-name", "price");
    browser.choose("#new-kind", "number");
    browser.type_into("#new-value", "9,5");
    browser.press("main button.primary");
    browser.shows("expected 7 or 2.50");
    browser.type_into("#new-value", "9.50");
    browser.press("main button.primary");
    browser.shows("Who has it");
    assert!(desk.scene.head.run(["get", "products", "oolong/1"]).ok().contains("9.5"));
    eventually("the other office has it", || desk.scene.north.has("products", "oolong/1"));
}

#[test]
fn a_stick_is_made_here_carried_and_taken_in_there() {
    let Some(mut desk) = Desk::new() else { return };
    desk.scene.north.stop();
    desk.scene.head.run(["put", "products", "carried", r#"{"name":"Carried"}"#]).ok();
    let north = desk.scene.north.status()["site"].as_str().unwrap().to_owned();
    desk.go("/network");
    desk.browser.choose("#for", &north);
    desk.browser.press("form[action='/network/stick'] button");
    let stick = desk.downloaded("bundle");
    desk.scene.head.stop();
    desk.scene.north.start_with(&["--no-mdns"]);
    let browser = Browser::start(Wanted::default());
    let link = desk.scene.north.run(["open", "--print"]).ok().trim().to_owned();
    browser.go(&link);
    browser.go(&format!("{}/network", base(&link)));
    // What is no stick says so.
    let other = desk.downloads.path().join("other.txt");
    std::fs::write(&other, "no stick at all").unwrap();
    browser.put_file("#stick", &other);
    browser.press("form[action='/network/merge'] button");
    eventually("it is refused", || browser.count(".notice.bad") == 1);
    browser.put_file("#stick", &stick);
    browser.press("form[action='/network/merge'] button");
    browser.shows("The stick of head is taken in");
    assert!(desk.scene.north.has("products", "carried"));
}

#[test]
fn an_office_syncs_and_backs_up_by_a_button_and_its_owner_signs_out() {
    let Some(desk) = Desk::new() else { return };
    let browser = &desk.browser;
    desk.go("/network");
    browser.press("form[action='/network/sync'] button");
    browser.shows("entries came");
    browser.press("#traffic summary");
    browser.shows("Beside the busiest hour");
    browser.press("form[action='/network/backup'] button");
    browser.shows("is written");
    assert_eq!(backups(&desk.scene.head.data).len(), 1);
    browser.shows("0.1");
    browser.press("form[action='/language'] button");
    browser.shows("Oficinas");
    browser.press("form[action='/sign-out'] button");
    browser.shows("branchline open");
    desk.go("/records");
    assert!(!browser.text().contains("products"), "{}", browser.text());
}

fn backups(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == "backup")).collect()
}

#[test]
fn an_office_that_nobody_has_let_in_says_so_and_why() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let mut branch = Office::init(PROGRAM, folder.path(), "branch", false);
    head.start();
    let ticket = head.run(["invite"]).ok();
    head.stop();
    branch.run(["join", ticket.trim()]);
    branch.start();
    let browser = Browser::start(Wanted::default());
    let link = branch.run(["open", "--print"]).ok();
    browser.go(link.trim());
    browser.shows("this site was never admitted");
    browser.press("main a[href='/why#findings']");
    browser.shows("What to know");
    browser.shows("this site was never admitted");
}

#[test]
fn a_line_that_is_down_leads_to_what_is_wrong_with_it() {
    let Some(mut desk) = Desk::new() else { return };
    desk.go("/");
    // An office that never said what it holds is shown as that, whatever its line.
    desk.browser.hides("Never confirmed");
    desk.scene.north.stop();
    desk.browser.shows("Line down");
    desk.browser.press(".card[data-standing='bad'] .eyebrow a");
    desk.browser.shows("Lag");
    let at = desk.browser.run("return location.pathname + location.hash");
    assert_eq!(at, "/network#lines");
}
