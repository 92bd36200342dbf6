//! An office that pulls from a provider.

use std::sync::Arc;
use std::time::Duration;

use branchline_connect::Kinds;
use branchline_connect::jobs::board::{Job, JobState, Jobs};
use branchline_connect::source::config::SourceConfig;
use branchline_connect::source::order::Order;
use branchline_connect::source::sources::Sources;
use branchline_crdt::feed::Item;
use branchline_node::feed::{Consumer, PageBounds, Since};
use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

use super::offices::Office;
use super::provider::Provider;

/// How long a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source of the tests, `%` is the provider's address.
pub(crate) const CRM: &str = r#"
name = "crm"
collection = "accounts"
allow = ["127.0.0.1"]
retry = { first = "1ms", max_delay = "5ms", attempts = 4 }
[request]
url = "%/accounts?since={since}&limit=100"
items = ".accounts[]"
id = ".id"
updated_at = ".updated_at"
page = { kind = "cursor", next = ".next", param = "cursor" }
[deleted]
url = "%/accounts/deleted?since={since}"
ids = ".ids[]"
[fields]
segment = ".data.segment"
"#;

/// The headquarters, and what it pulls with.
pub(crate) struct Puller {
    pub(crate) office: Office,
    pub(crate) provider: Provider,
    pub(crate) config: SourceConfig,
    pub(crate) sources: Sources,
    pub(crate) jobs: Arc<Jobs>,
}

impl Puller {
    /// An office whose source waits.
    pub(crate) async fn start() -> Self {
        Self::start_with(|text| text).await
    }

    /// An office whose source is configured otherwise.
    pub(crate) async fn start_with(change: impl Fn(String) -> String) -> Self {
        Self::at(Office::start("head").await, Provider::start().await, change).await
    }

    pub(crate) async fn at(
        office: Office,
        provider: Provider,
        change: impl Fn(String) -> String,
    ) -> Self {
        let text = change(CRM.replace('%', provider.address()));
        let config: SourceConfig = toml::from_str(&text).unwrap();
        let (sources, jobs) = open(&office).await;
        sources.take_up(std::slice::from_ref(&config)).await;
        Self { office, provider, config, sources, jobs }
    }

    /// The same after a crash: all that was at work is gone.
    pub(crate) async fn restart(&mut self) {
        self.sources.stop().await;
        (self.sources, self.jobs) = open(&self.office).await;
        self.sources.take_up(std::slice::from_ref(&self.config)).await;
    }

    /// A run that ends well.
    pub(crate) async fn pull(&self, order: Order) -> Job {
        let job = self.ends(order).await;
        assert_eq!(job.state, JobState::Completed, "{job:?}");
        job
    }

    /// A run that fails, and why.
    pub(crate) async fn fails(&self, order: Order) -> String {
        let job = self.ends(order).await;
        assert_eq!(job.state, JobState::Failed, "{job:?}");
        job.note
    }

    pub(crate) async fn ends(&self, order: Order) -> Job {
        let id = self.sources.run(&self.config, order).await.unwrap();
        self.end_of(id).await
    }

    pub(crate) async fn end_of(&self, id: u64) -> Job {
        self.until(id, |job| job.state.is_end()).await
    }

    pub(crate) async fn until(&self, id: u64, is_so: impl Fn(&Job) -> bool) -> Job {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.jobs.show(id).await.unwrap();
            if is_so(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "it did not come to that: {job:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The fields of an account's record.
    pub(crate) async fn account(&self, id: &str) -> Json {
        self.office.fields("accounts", id).await.unwrap_or(Json::Null)
    }

    pub(crate) async fn status(&self, id: &str) -> String {
        self.account(id).await["status"].as_str().unwrap_or_default().to_owned()
    }

    /// The statuses of accounts, in their order.
    pub(crate) async fn statuses(&self, ids: &[&str]) -> Vec<String> {
        let mut statuses = Vec::new();
        for id in ids {
            statuses.push(self.status(id).await);
        }
        statuses
    }

    /// The row of a run.
    pub(crate) async fn row(&self, number: u64) -> Json {
        let row = self.office.fields("sync_history", &format!("crm-{number}")).await;
        row.unwrap_or_default()
    }

    /// What changes from now on.
    pub(crate) async fn watch(&self) -> Consumer {
        self.office.handle().follow(Since::Now, None).await.unwrap()
    }
}

async fn open(office: &Office) -> (Sources, Arc<Jobs>) {
    let folder = office.path().to_owned();
    let jobs = Arc::new(Jobs::open(&folder).await.unwrap());
    let sources =
        Sources::new(office.handle(), folder, Arc::clone(&jobs), Arc::new(Kinds::default()));
    (sources, jobs)
}

/// The records that changed, as `collection/id`, in their order.
pub(crate) async fn changed(consumer: &mut Consumer) -> Vec<String> {
    let mut changed = Vec::new();
    loop {
        let page =
            consumer.page(PageBounds { items_max: 1_000, bytes_max: 1 << 22 }).await.unwrap();
        for item in &page.items {
            if let Item::Change(change) = &item.reported.item {
                changed.push(format!("{}/{}", change.key.collection, change.key.id));
            }
        }
        if page.is_end {
            return changed;
        }
    }
}

/// A full run.
pub(crate) const FULL: Order = Order { full: true, dry_run: false, accept: false };
/// One since the last.
pub(crate) const RUN: Order = Order { full: false, dry_run: false, accept: false };
