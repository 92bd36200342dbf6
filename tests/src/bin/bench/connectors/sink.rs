//! A sink pushes orders with their related records: all of them, then nothing new, then those of which a related record has
//! changed. A real process, and a service over HTTP in this one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use branchline_tests::Office;
use branchline_tests::process::{Gauge, cpu_seconds};
use branchline_tests::web::Web;
use serde_json::{Value, json};

use crate::Bench;
use crate::client::{BATCH, Client};
use crate::report::{Figures, Work};

/// What a run finds.
const FORMS: [&str; 3] = ["first push", "unchanged full run", "10 % of related changed"];
/// Of so many orders one has a related record that changes.
const CHANGED: usize = 10;

/// A service that keeps nothing but the number of what it has.
struct Service {
    web: Web,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    created: AtomicU64,
    requests: AtomicU64,
    bytes: AtomicU64,
}

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let mut runs: [Vec<Figures>; 3] = Default::default();
    for _ in 0..bench.runs {
        let service = Service::start();
        let folder = bench.folder("sink");
        let mut office = bench.office(&folder, "head");
        std::fs::write(office.data.join("branchline.toml"), "mdns = false\n")
            .expect("a configuration");
        office.start();
        bench.runtime.block_on(load(&office, records));
        for (form, runs) in runs.iter_mut().enumerate() {
            runs.push(push(bench, &office, &service, form, records));
        }
        office.stop();
    }
    for (form, runs) in FORMS.iter().zip(&runs) {
        bench.report.add(&Work { job: "sink", form, records, by: "process" }, runs);
    }
}

fn push(bench: &Bench, office: &Office, service: &Service, form: usize, records: usize) -> Figures {
    let State { requests, bytes, .. } = &*service.state;
    requests.store(0, Ordering::Relaxed);
    bytes.store(0, Ordering::Relaxed);
    Gauge::reset_peak(office.pid());
    let cpu_before = cpu_seconds(office.pid()).expect("the node runs");
    let started = Instant::now();
    let expected = match form {
        0 => {
            std::fs::write(office.data.join("branchline.toml"), service.config())
                .expect("a configuration");
            office.run(["reload"]).ok();
            office.run(["sink", "run", "erp", "--wait"]).ok();
            records
        }
        1 => {
            office.run(["sink", "run", "erp", "--full", "--wait"]).ok();
            0
        }
        _ => {
            bench.runtime.block_on(change(office, records));
            office.run(["sink", "run", "erp", "--wait"]).ok();
            records.div_ceil(CHANGED)
        }
    };
    let took = started.elapsed().as_secs_f64();
    let requests = requests.load(Ordering::Relaxed);
    assert_eq!(requests, expected as u64, "{}: requests", FORMS[form]);
    let sink = office.get("/v1/sinks/erp");
    assert_eq!((&sink["groups"], &sink["dirty"]), (&json!(records), &json!(0)));
    vec![
        ("seconds", took),
        ("cpu_s", cpu_seconds(office.pid()).expect("the node runs") - cpu_before),
        ("requests", requests as f64),
        ("mib_sent", bytes.load(Ordering::Relaxed) as f64 / 1_048_576.0),
        ("peak_mib", Gauge::of(office.pid()).peak_kib as f64 / 1_024.0),
    ]
}

/// Orders, each with its billing and two items.
async fn load(office: &Office, records: usize) {
    let mut client = Client::connect(office).await;
    let numbers: Vec<usize> = (0..records).collect();
    for numbers in numbers.chunks(BATCH) {
        let lines = |of: &dyn Fn(usize) -> (String, Value)| lines(numbers.iter().copied().map(of));
        let related = |n: usize| {
            (
                format!("b-{n}"),
                json!({ "order_id": id(n), "country": "ES", "street": format!("Calle Mayor {n}") }),
            )
        };
        import(&mut client, "billing", lines(&related)).await;
        for part in 0..2 {
            import(&mut client, "items", lines(&|n| item(n, part, 1))).await;
        }
        let order = |n: usize| {
            (
                id(n),
                json!({ "ref": format!("2026/{n}"), "state": "sent", "note": "to be delivered in the morning" }),
            )
        };
        import(&mut client, "orders", lines(&order)).await;
    }
}

/// One item of some orders.
async fn change(office: &Office, records: usize) {
    let mut client = Client::connect(office).await;
    let numbers: Vec<usize> = (0..records).step_by(CHANGED).collect();
    for numbers in numbers.chunks(BATCH) {
        let changed = lines(numbers.iter().map(|number| item(*number, 0, 2)));
        import(&mut client, "items", changed).await;
    }
}

fn id(number: usize) -> String {
    format!("o-{number}")
}

fn item(number: usize, part: usize, quantity: u32) -> (String, Value) {
    let fields = json!({ "order_id": id(number), "sku": format!("sku-{}", number % 997 + part), "qty": quantity });
    (format!("i-{number}-{part}"), fields)
}

fn lines(records: impl Iterator<Item = (String, Value)>) -> Vec<u8> {
    let mut text = String::new();
    for (id, fields) in records {
        writeln!(text, "{}", json!({ "id": id, "fields": fields })).expect("text");
    }
    text.into_bytes()
}

async fn import(client: &mut Client, collection: &str, lines: Vec<u8>) {
    let answer =
        client.send("application/x-ndjson", &format!("/v1/import/{collection}"), lines).await;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["rejected"], json!([]));
}

impl Service {
    fn start() -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let web = Web::start(move |asked| {
            shared.requests.fetch_add(1, Ordering::Relaxed);
            shared.bytes.fetch_add(asked.body.len() as u64, Ordering::Relaxed);
            match asked.method.as_str() {
                "POST" => {
                    let number = shared.created.fetch_add(1, Ordering::Relaxed);
                    (201, json!({ "id": number }).to_string())
                }
                _ => (200, "{}".to_owned()),
            }
        });
        Self { web, state }
    }

    fn config(&self) -> String {
        let url = self.web.url();
        format!(
            "mdns = false\n[[sink]]\nname = \"erp\"\nkind = \"http\"\ncollection = \"orders\"\nas = \"order\"\n\
             related = [{{ collection = \"billing\", as = \"billing\", by = \"order_id\" }}, \
             {{ collection = \"items\", as = \"items\", by = \"order_id\", many = true }}]\n\
             translate = '{{ ref: .order.ref, country: .billing.country, street: .billing.street, \
             lines: [.items[] | {{sku, qty}}] }}'\nallow = [\"127.0.0.1\"]\nconcurrency = 4\n\
             [sink.create]\nmethod = \"POST\"\nurl = \"{url}/orders\"\nremote_id = \".id\"\n\
             [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}\"\n"
        )
    }
}
