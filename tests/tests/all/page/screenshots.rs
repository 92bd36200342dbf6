//! The pictures of the page's documentation: `cargo test -p branchline-tests --test all page::screenshots -- --ignored`
//! makes them.

use std::path::Path;

use super::browser::{Browser, Wanted};
use super::looks::VIEWS;
use super::{Scene, base};

#[test]
#[ignore = "makes the pictures of node/docs/page"]
fn pictures_of_all_views() {
    let scene = Scene::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/docs/page");
    std::fs::create_dir_all(&folder).unwrap();
    let browser = Browser::start(Wanted { width: 1120, ..Wanted::default() });
    let link = scene.link();
    browser.go(&link);
    for (name, path) in VIEWS {
        browser.go(&format!("{}{path}", base(&link)));
        let height = browser.run("return document.body.scrollHeight");
        let height = height.as_u64().unwrap().clamp(400, 1600);
        browser.size(1120, u32::try_from(height).unwrap());
        browser.picture(&folder.join(format!("{name}.png")));
    }
}
