//! Pages that follow what happens.

use branchline_tests::eventually;

use super::Scene;
use super::browser::{Browser, Wanted, is_there};

#[test]
fn a_sale_at_another_office_shows_without_anybody_loading_the_page_again() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    browser.go(&link);
    browser.shows("42.5");
    browser.run("window.isTheSame = true");
    let now = jiff::Timestamp::now().to_string();
    let sale = serde_json::json!({ "at": now, "amount": 100 }).to_string();
    scene.north.run(["put", "sales", "s2", &sale]).ok();
    browser.shows("142.5");
    assert_eq!(browser.run("return window.isTheSame"), true, "the page was loaded again");
}

#[test]
fn a_page_says_that_the_node_has_stopped_and_comes_back_by_itself() {
    if !is_there() {
        return;
    }
    let mut scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    browser.go(&scene.link());
    browser.shows("42.5");
    browser.run("window.isTheSame = true");
    scene.head.stop();
    browser.shows("The node does not answer");
    let now = jiff::Timestamp::now().to_string();
    let sale = serde_json::json!({ "at": now, "amount": 7 }).to_string();
    scene.head.run(["put", "sales", "s3", &sale]).ok();
    scene.head.start();
    browser.hides("The node does not answer");
    browser.shows("49.5");
    assert_eq!(browser.run("return window.isTheSame"), true, "the page was loaded again");
}

#[test]
fn a_hidden_tab_leaves_its_connection_to_others() {
    if !is_there() {
        return;
    }
    let scene = Scene::new();
    let browser = Browser::start(Wanted::default());
    let link = scene.link();
    browser.go(&link);
    let streams = || browser.run("return document.getElementById('live').childElementCount");
    eventually("the page follows", || streams() == 1);
    // As a browser does that shows another tab. One without a screen takes each of its tabs for one that is seen, and has no
    // more than six connections for one host.
    browser.run("Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))");
    eventually("a hidden page follows no more", || streams() == 0);
    browser.run("Object.defineProperty(document, 'hidden', { value: false }); document.dispatchEvent(new Event('visibilitychange'))");
    eventually("a page that is seen again follows", || streams() == 1);
}
