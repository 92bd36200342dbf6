//! The page for the office in a real browser: Debian's chromium, driven by its chromedriver.

mod browser;
mod buttons;
mod by_hand;
mod crowd;
mod hostile;
mod jobs;
mod live;
mod looks;
mod people;
mod screenshots;

use std::path::Path;

use branchline_tests::{Office, converge, eventually};
use serde_json::json;

use crate::PROGRAM;

/// Head and north in one network, with some records, conflicts, and a page at head.
struct Scene {
    head: Office,
    north: Office,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (head, north) = Office::pair(PROGRAM, folder.path());
        configure(&head.data);
        head.run(["reload"]).ok();
        for (id, name, price) in
            [("assam", "Assam 250 g", 7.25), ("mate", "Mate", 4.5), ("sencha", "Sencha", 12.75)]
        {
            let fields = json!({ "name": name, "price": price, "shelf": 4 });
            head.run(["put", "products", id, &fields.to_string()]).ok();
        }
        let now = jiff::Timestamp::now().to_string();
        head.run(["put", "sales", "s1", &json!({ "at": now, "amount": 42.5 }).to_string()]).ok();
        eventually("north is a member", || north.run(["status"]).stdout.contains("head"));
        converge(&[&head, &north]);
        let mut scene = Self { head, north, _folder: folder };
        // What is written while there is no line is a conflict once there is one.
        scene.north.stop();
        scene.head.stop();
        for (id, here, there) in [("assam", 8.25, 7.95), ("mate", 5.25, 4.95)] {
            scene.head.run(["patch", "products", id, &json!({ "price": here }).to_string()]).ok();
            scene.north.run(["patch", "products", id, &json!({ "price": there }).to_string()]).ok();
        }
        scene.head.start();
        scene.north.start();
        converge(&[&scene.head, &scene.north]);
        scene
    }

    /// A link that signs in to head's page.
    fn link(&self) -> String {
        self.head.run(["open", "--print"]).ok().trim().to_owned()
    }
}

/// Where the page begins, by a link to it.
fn base(link: &str) -> &str {
    link.split("/sign-in/").next().unwrap()
}

fn configure(data: &Path) {
    let text = "[page]\ntime_zone = \"UTC\"\nbackups = \".\"\n[[page.total]]\ncollection = \"sales\"\ntime = \"at\"\nsum = \"amount\"\n";
    std::fs::write(data.join("branchline.toml"), text).unwrap();
}
