//! What the views look like to everybody: by keyboard and screen reader, on a narrow screen, in the dark, on paper.

use super::browser::{Browser, Wanted, is_there};
use super::{Scene, base};

const AXE: &str = include_str!("axe.min.js");
pub(super) const VIEWS: [(&str, &str); 11] = [
    ("offices", "/"),
    ("why", "/why"),
    ("conflicts", "/conflicts"),
    ("records", "/records"),
    ("table", "/records/products?by=shelf&sum=price"),
    ("wrong", "/records/products?where=price+%3E%3E+1"),
    ("record", "/record/products/assam"),
    ("edit", "/record/products/assam/edit"),
    ("new", "/records/products/new"),
    ("jobs", "/jobs"),
    ("network", "/network"),
];

#[test]
fn nothing_serious_is_found_by_axe_in_any_view_wide_narrow_or_dark() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    for wanted in [
        Wanted::default(),
        Wanted { width: 320, ..Wanted::default() },
        Wanted { dark: true, ..Wanted::default() },
    ] {
        let browser = Browser::start(wanted);
        let link = scene.link();
        let base = base(&link).to_owned();
        browser.go(&link);
        for (name, path) in VIEWS {
            browser.go(&format!("{base}{path}"));
            looks_well(&browser, &format!("{name} ({})", wanted.width));
        }
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "the browser complains: {complaints:#?}");
    }
}

/// What the browser shows is no wider than its window, and axe finds nothing serious in it.
#[track_caller]
pub(super) fn looks_well(browser: &Browser, name: &str) {
    let wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth");
    assert!(wide.as_i64().unwrap() <= 0, "{name} is {wide} pixels too wide");
    let script = format!(
        "{AXE}; const done = arguments[0]; axe.run().then(found => done(found.violations), error => done(String(error)))"
    );
    let found = browser.run_until_done(&script);
    let found = found.as_array().unwrap_or_else(|| panic!("{name}: {found}"));
    let serious: Vec<String> = found
        .iter()
        .filter(|it| matches!(it["impact"].as_str(), Some("serious" | "critical")))
        .map(|it| format!("{}: {} {}", it["id"], it["help"], it["nodes"][0]["html"]))
        .collect();
    assert!(serious.is_empty(), "{name}: {serious:#?}");
}

#[test]
fn the_offices_go_on_paper() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    browser.go(&scene.link());
    let printed = browser.execute("Page.printToPDF", &serde_json::json!({}));
    // A PDF in base64.
    assert!(printed["data"].as_str().unwrap().starts_with("JVBERi"), "{printed}");
    browser.execute("Emulation.setEmulatedMedia", &serde_json::json!({ "media": "print" }));
    let shown = browser.text();
    assert!(
        shown.contains("north") && shown.contains("42.5") && !shown.contains("Sign out"),
        "{shown}"
    );
    // Whose sheet it is, and of when.
    let today = jiff::Timestamp::now().strftime("head, %Y-").to_string();
    assert!(shown.contains(&today) && shown.contains("(UTC)"), "{shown}");
}

#[test]
fn everything_can_be_reached_by_the_keyboard_alone() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    browser.go(&link);
    browser.go(&format!("{}/conflicts", base(&link)));
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.key("\u{e004}");
        let at = browser.run("const at = document.activeElement; const box = getComputedStyle(at); return [at.innerText, box.outlineStyle]");
        if at[1] == "none" {
            let text = at[0].as_str().unwrap_or_default();
            assert!(text.len() > 100, "what has the focus does not show it: {text}");
        }
        reached.push(at[0].as_str().unwrap_or_default().to_owned());
    }
    for expected in ["Skip to the content", "Not in step", "Take this", "Sign out"] {
        assert!(reached.iter().any(|text| text.contains(expected)), "{expected}: {reached:?}");
    }
}
