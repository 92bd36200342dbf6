//! The page of examples does what it says, and what is answered is as the API's description says.

use std::process::Command;

use branchline_tests::openapi::Document;
use branchline_tests::recorder::Recorder;
use branchline_tests::{Office, eventually};

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../node/API.md");

#[test]
fn every_command_of_the_api_page_succeeds() {
    let version = Command::new("curl").arg("--version").output().ok();
    let version = version.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned());
    if version.is_none() {
        eprintln!("NOT RUN: curl is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let (address, token) = head.api();
    let recorder = Recorder::start(address);
    let blocks: Vec<&str> = PAGE.split("```sh\n").skip(1).collect();
    let blocks: Vec<&str> = blocks.iter().filter_map(|text| text.split("```").next()).collect();
    assert!(blocks.len() > 5);
    // One shell for all: what one block sets, the next uses.
    let script = format!("set -eux\n{}", blocks.concat());
    let ran = Command::new("bash")
        .args(["-c", &script])
        .env("API", format!("http://{}", recorder.address()))
        .env("AUTH", format!("Authorization: Bearer {token}"))
        .output()
        .expect("bash runs");
    let (output, errors) =
        (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{output}\n{errors}");
    assert_eq!(head.get("/v1/records/products/tea")["stock"], 34);
    let sent = blocks.concat().matches("curl ").count();
    eventually("all is written down", || recorder.exchanges().len() == sent);
    let document = Document::of(&head);
    for exchange in recorder.exchanges() {
        document.check(&exchange);
    }
}
