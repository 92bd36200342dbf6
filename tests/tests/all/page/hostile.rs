//! Records that are made to act upon a browser, or to mislead who reads them: ids, names of fields and values, also in
//! conflict and of megabytes.

use branchline_tests::converge;
use serde_json::json;

use super::browser::{Browser, Wanted, is_there};
use super::{Scene, base};

// Names of fields have no dots.
const SCRIPT: &str = "<script>taken = true</script><img src=x onerror='taken = true'>";
const ID: &str = "'\"><svg onload=alert(1)>\u{202e}gpjexe";

#[test]
fn what_records_hold_is_text_in_every_view_and_of_megabytes_a_part() {
    if !is_there() {
        return;
    }
    let mut scene = Scene::new();
    scene.north.stop();
    scene.head.stop();
    for (office, by) in [(&scene.head, "head"), (&scene.north, "north")] {
        let large = format!("{by} {}", "x".repeat(1_000_000));
        let record = json!({
            "note": format!("{SCRIPT} {by}\u{7}\u{1b}[2J"), "large": large, (SCRIPT): by,
            "javascript:alert(1)": "javascript:alert(1)", "nested": { (ID): [SCRIPT] },
        });
        office.run_with(["put", "notes", ID, "-"], &record.to_string()).ok();
    }
    scene.head.start();
    scene.north.start();
    converge(&[&scene.head, &scene.north]);
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    browser.go(&link);
    let base = base(&link).to_owned();
    browser.go(&format!("{base}/records/notes"));
    browser.press("td a[href^='/record/notes/']");
    browser.shows("Who has it");
    let record = browser.run("return location.pathname").as_str().unwrap().to_owned();
    for path in [
        "/",
        "/why",
        "/conflicts?collection=notes",
        "/records",
        "/records/notes?by=note&order=note",
        "/records/notes?where=note+%3D+%27%3Cscript%3Etaken%3Dtrue%3C%2Fscript%3E%27",
        &record,
        &format!("{record}/edit"),
        "/network",
    ] {
        browser.go(&format!("{base}{path}"));
        browser.shows("head");
        assert_eq!(browser.run("return window.taken === undefined"), true, "{path}");
        assert_eq!(browser.count("main script, main img, main svg, main [onload]"), 0, "{path}");
        // What somebody edits is as it is.
        let shown = if path.ends_with("/edit") { String::new() } else { browser.text() };
        assert!(!shown.contains(['\u{202e}', '\u{7}', '\u{1b}']), "{path}");
        let bytes = browser.run("return document.documentElement.outerHTML.length");
        assert!(bytes.as_u64().unwrap() < 500_000, "{path} has {bytes} bytes");
        let wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(wide.as_i64().unwrap() <= 0, "{path} is {wide} pixels too wide");
    }
    browser.go(&format!("{base}/conflicts?collection=notes&field=note"));
    browser.shows("1 field");
    browser.press(".choice:nth-child(2) button");
    browser.shows("note of notes/");
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
}
