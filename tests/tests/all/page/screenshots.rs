//! The pictures of the page's documentation: `cargo test -p branchline-tests --test all page::screenshots -- --ignored`
//! makes them.

use std::path::Path;

use super::browser::{Browser, Wanted};
use super::jobs::Connected;
use super::looks::VIEWS;
use super::{Scene, base};

const WIDTH: u32 = 1120;

#[test]
#[ignore = "makes the pictures of node/docs/page"]
fn pictures_of_all_views() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/docs/page");
    std::fs::create_dir_all(&folder).unwrap();
    let mut scene = Scene::new();
    // A line that is down shows more than one that stands.
    scene.north.stop();
    for number in 2..43 {
        let sale =
            serde_json::json!({ "at": jiff::Timestamp::now().to_string(), "amount": number });
        scene.head.run(["put", "sales", &format!("s{number}"), &sale.to_string()]).ok();
    }
    let views: Vec<_> = VIEWS.into_iter().filter(|(name, _)| *name != "jobs").collect();
    pictures(&scene.link(), &views, &folder);
    let connected = Connected::new();
    let views = [("jobs", "/jobs"), ("bridge", "/jobs/bridge/till"), ("sink", "/jobs/sink/erp")];
    pictures(&connected.link(), &views, &folder);
}

fn pictures(link: &str, views: &[(&str, &str)], folder: &Path) {
    let browser = Browser::start(Wanted { width: WIDTH, ..Wanted::default() });
    browser.go(link);
    for (name, path) in views {
        browser.go(&format!("{}{path}", base(link)));
        let height = browser.run("return document.body.scrollHeight");
        let height = height.as_u64().unwrap().clamp(400, 1600);
        browser.size(WIDTH, u32::try_from(height).unwrap());
        browser.picture(&folder.join(format!("{name}.png")));
    }
}
