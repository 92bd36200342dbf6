//! An office with a sink called `erp`, and the service that it pushes to.

use std::sync::Arc;

use branchline_connect::Kinds;
use branchline_connect::jobs::board::Jobs;
use branchline_connect::sink::config::SinkConfig;
use branchline_connect::sink::sinks::Sinks;
use branchline_connect::sink::state::Which;
use branchline_connect::sink::trial::SinkTrial;
use branchline_connect::sink::worker::{Requeue, RunOrder, SinkCommand, SinkReport};
use serde_json::{Value as Json, json};

use super::office::{Office, wait_until};
use super::remote::Remote;

/// A sink of orders with their items, their user and their customer. `URL` stands for the service.
pub(crate) const ERP: &str = r#"
name = "erp"
kind = "http"
collection = "orders"
as = "order"
related = [
  { collection = "billing", as = "billing", by = "order_id" },
  { collection = "items", as = "items", by = "order_id", many = true },
  { collection = "users", as = "user", from = "user_id" },
  { collection = "customers", as = "customer", from = "user.customer_id" },
]
translate = '{ ref: .order.ref, country: .billing.country, segment: .customer.segment, lines: [.items[] | {sku, qty}] }'
allow = ["127.0.0.1"]
concurrency = 2
retry = { first = "10ms", multiplier = 2.0, max_delay = "50ms", attempts = 3 }
create = { method = "POST", url = "URL/orders", remote_id = ".id", lookup = "URL/orders?ref={ref}", lookup_id = ".items[0].id" }
update = { method = "PUT", url = "URL/orders/{remote_id}" }
delete = { method = "DELETE", url = "URL/orders/{remote_id}" }
"#;

/// The same without a look-up.
pub(crate) fn without_lookup() -> String {
    ERP.replace(", lookup = \"URL/orders?ref={ref}\", lookup_id = \".items[0].id\"", "")
}

pub(crate) struct Desk {
    pub(crate) office: Office,
    pub(crate) remote: Remote,
    pub(crate) sinks: Sinks,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) trial: SinkTrial,
}

impl Desk {
    pub(crate) async fn open(config: &str) -> Self {
        Self::with(Office::start("head").await, Remote::start().await, config).await
    }

    pub(crate) async fn with(office: Office, remote: Remote, config: &str) -> Self {
        let folder = office.path().join("connect");
        std::fs::create_dir_all(&folder).unwrap();
        let jobs = Arc::new(Jobs::open(&folder).await.unwrap());
        let trial = SinkTrial::default();
        let sinks = sinks(&office, &jobs, &trial);
        let desk = Self { office, remote, sinks, jobs, trial };
        desk.reload(config).await;
        desk
    }

    pub(crate) fn config(&self, text: &str) -> SinkConfig {
        let mut config: SinkConfig =
            toml::from_str(&text.replace("URL", &self.remote.url)).unwrap();
        // Connectors with the same credential share their limits, and so would all tests of this process.
        config.headers.insert("X-Api-Key".to_owned(), self.remote.url.clone());
        config
    }

    /// Takes a configuration up.
    pub(crate) async fn reload(&self, text: &str) {
        self.sinks.take_up(&[self.config(text)]).await;
    }

    /// Ends the sink as a crash would, and begins again.
    pub(crate) async fn crash(&mut self, text: &str) {
        self.sinks.kill().await;
        self.trial.stop_after(0);
        self.sinks = sinks(&self.office, &self.jobs, &self.trial);
        self.reload(text).await;
    }

    pub(crate) fn report(&self) -> SinkReport {
        self.sinks.reports().remove("erp").unwrap_or_default()
    }

    pub(crate) async fn ask(&self, command: SinkCommand) -> Json {
        self.sinks.ask("erp", command).await.unwrap().unwrap()
    }

    pub(crate) async fn requeue_all(&self) -> Json {
        self.ask(SinkCommand::Requeue(Requeue::default())).await["requeued"].clone()
    }

    pub(crate) async fn run(&self, full: bool, yes: bool) -> u64 {
        let answer = self.ask(SinkCommand::Run(RunOrder { full, yes, part: None })).await;
        answer["job"].as_u64().unwrap()
    }

    /// A group with what is known of it; null: there is none.
    pub(crate) async fn group(&self, id: &str) -> Json {
        let command = SinkCommand::Groups { which: Which::All, after: None, limit: 1_000 };
        let answer = self.ask(command).await;
        let groups = answer["groups"].as_array().unwrap();
        groups.iter().find(|group| group["id"] == id).cloned().unwrap_or_default()
    }

    /// An order with a billing record and an item.
    pub(crate) async fn order(&self, id: &str) {
        let office = &self.office;
        office
            .merge("billing", &format!("b{id}"), json!({ "order_id": id, "country": "ES" }))
            .await;
        office
            .merge("items", &format!("i{id}"), json!({ "order_id": id, "sku": "tea", "qty": 1 }))
            .await;
        office
            .merge(
                "orders",
                id,
                json!({ "ref": format!("A-{id}"), "state": "sent", "user_id": "u1" }),
            )
            .await;
    }

    /// Waits until the sink is in a state.
    pub(crate) async fn is(&self, state: &str) -> SinkReport {
        wait_until(&format!("the sink is {state}"), || async { self.report().state == state })
            .await;
        self.report()
    }

    /// Waits until everything is sent that can be: a run that was asked for now has ended.
    pub(crate) async fn is_at_rest(&self) {
        let id = self.run(false, false).await;
        self.has_ended(id).await;
    }

    pub(crate) async fn has_ended(&self, id: u64) {
        wait_until("the job has ended", || async {
            self.jobs.show(id).await.unwrap().state.is_end()
        })
        .await;
    }

    /// Waits until the object of an order has a value.
    pub(crate) async fn becomes(&self, reference: &str, field: &str, value: Json) {
        let what = format!("{reference} has {field} {value}");
        wait_until(&what, || async {
            self.remote.by_ref(reference).is_some_and(|object| object[field] == value)
        })
        .await;
    }
}

fn sinks(office: &Office, jobs: &Arc<Jobs>, trial: &SinkTrial) -> Sinks {
    let folder = office.path().join("connect");
    let kinds = Arc::new(Kinds::default());
    Sinks::new(office.handle(), folder, Arc::clone(jobs), kinds).with_trial(trial.clone())
}
