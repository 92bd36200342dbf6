//! A browser without a screen, driven by WebDriver: some requests to its chromedriver.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use branchline_tests::DEADLINE;
use serde_json::{Value, json};

/// What a browser is to be like.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) no_scripts: bool,
    pub(super) dark: bool,
    /// In pixels; 0: as a desk has it.
    pub(super) width: u32,
    pub(super) language: Option<&'static str>,
}

pub(super) struct Browser {
    client: reqwest::blocking::Client,
    session: String,
    driver: Child,
}

/// Whether there is a browser; says plainly what is left out where there is none.
pub(super) fn is_there() -> bool {
    let runs = |program: &str| {
        let ran = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let is_there = runs("chromium") && runs("chromedriver");
    if !is_there {
        eprintln!(
            "NOT RUN: the page was not looked at in a browser; expected Debian's packages chromium and chromium-driver"
        );
    }
    is_there
}

impl Browser {
    pub(super) fn start(wanted: Wanted) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().expect("chromedriver runs");
        // A browser that starts beside other tests takes its time.
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(2 * DEADLINE);
        let client = client.build().expect("a client");
        let url = format!("http://127.0.0.1:{port}");
        let mut browser = Self { client, session: url.clone(), driver };
        let deadline = Instant::now() + DEADLINE;
        while browser.client.get(format!("{url}/status")).send().is_err() {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            sleep(Duration::from_millis(50));
        }
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
        ];
        arguments.push(format!("--accept-lang={}", wanted.language.unwrap_or("en")));
        let scripts = if wanted.no_scripts { 2 } else { 1 };
        let options = json!({
            "binary": "/usr/bin/chromium",
            "args": arguments,
            "prefs": {
                "profile.managed_default_content_settings.javascript": scripts,
                "intl.accept_languages": wanted.language.unwrap_or("en"),
            },
        });
        let always = json!({
            "browserName": "chrome", "acceptInsecureCerts": true, "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let begun =
            browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": always } }));
        browser.session = format!("{url}/session/{}", begun["sessionId"].as_str().unwrap());
        browser.size(if wanted.width == 0 { 1280 } else { wanted.width }, 900);
        if wanted.dark {
            let dark = json!({ "name": "prefers-color-scheme", "value": "dark" });
            browser.execute("Emulation.setEmulatedMedia", &json!({ "features": [dark] }));
        }
        browser
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.try_ask(method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let request = match method {
            "GET" => self.client.get(url),
            "DELETE" => self.client.delete(url),
            _ => self.client.post(url).json(body),
        };
        let answer: Value =
            request.send().and_then(|it| it.json()).map_err(|error| error.to_string())?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    /// Sends the browser a command of its own protocol.
    #[track_caller]
    pub(super) fn execute(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub(super) fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.execute("Emulation.setDeviceMetricsOverride", &metrics);
    }

    #[track_caller]
    pub(super) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// The text that shows. While a page loads there is none.
    pub(super) fn text(&self) -> String {
        let Ok(body) = self.find("body") else { return String::new() };
        let text = self.try_ask("GET", &format!("/element/{body}/text"), &Value::Null);
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Waits until a text shows.
    #[track_caller]
    pub(super) fn shows(&self, text: &str) {
        self.until(text, true);
    }

    /// Waits until a text shows no more.
    #[track_caller]
    pub(super) fn hides(&self, text: &str) {
        self.until(text, false);
    }

    #[track_caller]
    fn until(&self, text: &str, expected: bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let shown = self.text();
            if shown.contains(text) == expected && !shown.is_empty() {
                return;
            }
            let what = if expected { "does not show" } else { "still shows" };
            assert!(Instant::now() < deadline, "the page {what} {text:?}: {shown}");
            sleep(Duration::from_millis(20));
        }
    }

    fn find(&self, selector: &str) -> Result<String, String> {
        let found = self.try_ask(
            "POST",
            "/element",
            &json!({ "using": "css selector", "value": selector }),
        )?;
        let id = found.as_object().and_then(|found| found.values().next());
        id.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| "no element".to_owned())
    }

    /// Presses what a selector finds first.
    #[track_caller]
    pub(super) fn press(&self, selector: &str) {
        self.once_there(selector, |found| {
            self.try_ask("POST", &format!("/element/{found}/click"), &json!({}))
        });
    }

    /// Does something with what a selector finds first. A page that loads does not have it yet, and one that follows may
    /// just have shown it again.
    #[track_caller]
    fn once_there(&self, selector: &str, act: impl Fn(&str) -> Result<Value, String>) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let Err(error) = self.find(selector).and_then(|found| act(&found)) else { return };
            assert!(Instant::now() < deadline, "{selector}: {error}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Replaces what stands in a field.
    #[track_caller]
    pub(super) fn type_into(&self, selector: &str, text: &str) {
        self.once_there(selector, |found| {
            self.try_ask("POST", &format!("/element/{found}/clear"), &json!({}))?;
            self.try_ask("POST", &format!("/element/{found}/value"), &json!({ "text": text }))
        });
    }

    /// Presses a key, wherever the focus is.
    pub(super) fn key(&self, key: &str) {
        let press = |kind: &str| json!({ "type": kind, "value": key });
        let keys = json!({ "type": "key", "id": "keyboard", "actions": [press("keyDown"), press("keyUp")] });
        self.ask("POST", "/actions", &json!({ "actions": [keys] }));
    }

    /// How many elements a selector finds.
    #[track_caller]
    pub(super) fn count(&self, selector: &str) -> usize {
        let query = json!({ "using": "css selector", "value": selector });
        self.ask("POST", "/elements", &query).as_array().map_or(0, Vec::len)
    }

    /// Chooses of a list what has this value.
    #[track_caller]
    pub(super) fn choose(&self, selector: &str, value: &str) {
        self.press(&format!("{selector} option[value='{value}']"));
    }

    /// Puts a file into a field, as somebody does who has looked for it.
    #[track_caller]
    pub(super) fn put_file(&self, selector: &str, path: &Path) {
        let text = json!({ "text": path.to_str() });
        self.once_there(selector, |found| {
            self.try_ask("POST", &format!("/element/{found}/value"), &text)
        });
    }

    /// Downloads into a folder from now on.
    pub(super) fn download_to(&self, folder: &Path) {
        let wanted = json!({ "behavior": "allow", "downloadPath": folder.to_str() });
        self.execute("Browser.setDownloadBehavior", &wanted);
    }

    /// Runs a script, and returns what it does.
    #[track_caller]
    pub(super) fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that says by its argument when it is done.
    #[track_caller]
    pub(super) fn run_until_done(&self, script: &str) -> Value {
        self.ask("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// What the browser complains of, other than of answers that say that something was not done.
    pub(super) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let texts = entries.iter().filter_map(|entry| entry["message"].as_str());
        texts.filter(|text| !text.contains("Failed to load resource")).map(str::to_owned).collect()
    }

    /// Writes a picture of what shows.
    pub(super) fn picture(&self, path: &Path) {
        let picture = self.ask("GET", "/screenshot", &Value::Null);
        let bytes = data_encoding::BASE64.decode(picture.as_str().unwrap().as_bytes());
        std::fs::write(path, bytes.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and chromedriver when it is stopped.
        let _ = self.try_ask("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
