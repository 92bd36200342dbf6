//! A source pulls a provider's accounts: all of them, then nothing new, then a hundredth changed. A real process, and a
//! provider over HTTP in this one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use branchline_tests::Office;
use branchline_tests::process::{Gauge, cpu_seconds};
use branchline_tests::web::Web;
use serde_json::json;

use crate::Bench;
use crate::report::{Figures, Work};

/// Accounts on a page.
const PAGE: u64 = 1_000;
/// What a run finds.
const FORMS: [&str; 3] = ["first full run", "unchanged full run", "1 % changed"];

/// Accounts of some 300 bytes, by number.
struct Provider {
    web: Web,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    accounts: u64,
    /// Accounts that say something new: those whose number this divides.
    changed: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let mut runs: [Vec<Figures>; 3] = Default::default();
    for _ in 0..bench.runs {
        let provider = Provider::start(records as u64);
        let folder = bench.folder("source");
        let mut office = bench.office(&folder, "head");
        std::fs::write(office.data.join("branchline.toml"), provider.config())
            .expect("a configuration");
        office.start();
        for (form, runs) in runs.iter_mut().enumerate() {
            provider.state.changed.store(if form == 2 { 100 } else { 0 }, Ordering::Relaxed);
            runs.push(pull(&office, &provider));
        }
        office.stop();
    }
    for (form, runs) in FORMS.iter().zip(&runs) {
        bench.report.add(&Work { job: "source", form, records, by: "process" }, runs);
    }
}

fn pull(office: &Office, provider: &Provider) -> Figures {
    let State { requests, bytes, .. } = &*provider.state;
    requests.store(0, Ordering::Relaxed);
    bytes.store(0, Ordering::Relaxed);
    Gauge::reset_peak(office.pid());
    let cpu_before = cpu_seconds(office.pid()).expect("the node runs");
    let entries_before = entries(office);
    let started = Instant::now();
    office.run(["source", "run", "crm", "--full", "--wait"]).ok();
    let took = started.elapsed().as_secs_f64();
    let counts = office.get("/v1/jobs")["jobs"][0]["result"]["counts"].clone();
    vec![
        ("seconds", took),
        ("cpu_s", cpu_seconds(office.pid()).expect("the node runs") - cpu_before),
        ("updated", counts["updated"].as_u64().expect("a number") as f64),
        ("entries", entries(office) - entries_before),
        ("requests", requests.load(Ordering::Relaxed) as f64),
        ("mib_read", bytes.load(Ordering::Relaxed) as f64 / 1_048_576.0),
        ("peak_mib", Gauge::of(office.pid()).peak_kib as f64 / 1_024.0),
    ]
}

fn entries(office: &Office) -> f64 {
    office.status()["entries"].as_u64().unwrap_or_default() as f64
}

impl Provider {
    fn start(accounts: u64) -> Self {
        let state = Arc::new(State { accounts, ..State::default() });
        let shared = Arc::clone(&state);
        let web = Web::start(move |asked| {
            let cursor = asked.path.split("cursor=").nth(1).and_then(|number| number.parse().ok());
            let body = page(&shared, cursor.unwrap_or(0));
            shared.requests.fetch_add(1, Ordering::Relaxed);
            shared.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
            (200, body)
        });
        Self { web, state }
    }

    fn config(&self) -> String {
        let address = self.web.url();
        format!(
            "mdns = false\n[[source]]\nname = \"crm\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n[source.request]\n\
             url = \"{address}/accounts?since={{since}}\"\nitems = \".accounts[]\"\nid = \".id\"\n\
             updated_at = \".updated_at\"\npage = {{ kind = \"cursor\", next = \".next\", param = \"cursor\" }}\n\
             [source.fields]\nsegment = \".data.segment\"\n"
        )
    }
}

fn page(state: &State, from: u64) -> String {
    let to = (from + PAGE).min(state.accounts);
    let changed = state.changed.load(Ordering::Relaxed);
    let account = |number: u64| {
        let is_changed = changed > 0 && number.is_multiple_of(changed);
        json!({
            // Not in their order, as ids of a provider are.
            "id": format!("acc-{:08}", number.wrapping_mul(48_271) % 100_000_007),
            "updated_at": if is_changed { "2026-02-01T00:00:00Z" } else { "2026-01-01T00:00:00Z" },
            "name": format!("Account {number} of a customer"),
            "segment": if number.is_multiple_of(3) { "enterprise" } else { "smb" },
            "balance": number * 7_919 % 100_003,
            "visits": if is_changed { 2 } else { 1 },
            "address": { "street": format!("Calle Mayor {number}"), "city": "Madrid", "postcode": "28013" },
        })
    };
    let accounts: Vec<_> = (from..to).map(account).collect();
    let next = (to < state.accounts).then(|| to.to_string());
    json!({ "accounts": accounts, "next": next }).to_string()
}
