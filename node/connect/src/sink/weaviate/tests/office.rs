//! An office with a sink to Weaviate.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use branchline_node::init;
use branchline_node::{Config, Handle, Node};
use serde_json::{Value as Json, json};

use super::server::WeaviateTestServer;
use crate::jobs::board::{Job, JobState, Jobs};
use crate::sink::config::SinkConfig;
use crate::sink::sinks::Sinks;
use crate::sink::worker::{RunOrder, RunPart, SinkCommand};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Office {
    pub(super) server: Arc<WeaviateTestServer>,
    pub(super) node: Node,
    pub(super) jobs: Arc<Jobs>,
    pub(super) sinks: Sinks,
    folder: tempfile::TempDir,
}

impl Office {
    /// Founds a network with one site. No sink is there yet.
    pub(super) async fn start() -> Self {
        Self::with("head", true, Arc::new(WeaviateTestServer::start().await)).await
    }

    /// A site that joins another's network, with the same server.
    pub(super) async fn join(other: &Self) -> Self {
        let office = Self::with("branch", false, Arc::clone(&other.server)).await;
        let lifetime = Duration::from_secs(600);
        let ticket = other.handle().invite(Role::Writer, lifetime, Vec::new()).await.unwrap();
        office.handle().join(ticket).await.unwrap();
        eventually(async || office.handle().replica_status().await.unwrap().member.then_some(()))
            .await;
        office
    }

    async fn with(name: &str, founds: bool, server: Arc<WeaviateTestServer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        init(&data, name, founds).unwrap();
        let mut config = Config::new(&data);
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.settings.mdns = false;
        let node = Node::start(config).await.unwrap();
        let connect = folder.path().join("connect");
        std::fs::create_dir_all(&connect).unwrap();
        let jobs = Arc::new(Jobs::open(&connect).await.unwrap());
        let sinks = Sinks::new(node.handle(), connect, Arc::clone(&jobs), Arc::default());
        Self { server, node, jobs, sinks, folder }
    }

    pub(super) fn handle(&self) -> Handle {
        self.node.handle()
    }

    /// Orders with their customers; `more`: settings.
    pub(super) fn config(&self, more: &str) -> SinkConfig {
        let text = format!(
            "name = \"search\"\nkind = \"weaviate\"\nurl = \"{}\"\nallow = [\"127.0.0.1\"]\n\
             retry = {{ first = \"10ms\", max_delay = \"50ms\", attempts = 3 }}\n{more}\n\
             [[object]]\ncollection = \"customers\"\nclass = \"Customer\"\ntranslate = \"{{ name }}\"\n\
             [[object]]\ncollection = \"orders\"\nclass = \"Order\"\ntranslate = \"{{ ref, price }}\"\n\
             [[edge]]\ncollection = \"orders\"\nproperty = \"hasCustomer\"\nfield = \"customer_id\"\nto = \"customers\"",
            self.server.url
        );
        let config: SinkConfig = toml::from_str(&text).unwrap();
        crate::sink::check::check(&config).unwrap();
        config
    }

    /// Starts the sink.
    pub(super) async fn run(&self, more: &str) {
        self.sinks.take_up(&[self.config(more)]).await;
    }

    pub(super) async fn put(&self, collection: &str, id: &str, fields: Json) {
        self.handle().transaction().merge(collection, id, fields).commit().await.unwrap();
    }

    pub(super) async fn delete(&self, collection: &str, id: &str) {
        self.handle().transaction().delete(collection, id).commit().await.unwrap();
    }

    /// Customers c0, c1, … and orders o0, o1, …, each of one of them.
    pub(super) async fn fill(&self, customers: usize, orders: usize) {
        let mut transaction = self.handle().transaction();
        for n in 0..customers {
            let fields = json!({ "name": format!("Customer {n}") });
            transaction = transaction.put("customers", &format!("c{n}"), fields);
        }
        for n in 0..orders {
            let fields = json!({ "ref": format!("R{n}"), "price": n, "customer_id": format!("c{}", n % customers) });
            transaction = transaction.put("orders", &format!("o{n}"), fields);
        }
        transaction.commit().await.unwrap();
    }

    /// Waits until nothing waits to be sent.
    pub(super) async fn settled(&self) {
        self.wait_until("the sink has nothing to do", || {
            let report = self.sinks.reports().remove("search").unwrap();
            report.state == "waiting" && report.waiting_since_ms.is_none()
        })
        .await;
    }

    /// Waits until this site shows the same as another.
    pub(super) async fn has_all_of(&self, other: &Self) {
        eventually(async || {
            let digest = async |office: &Self| office.handle().status().await.unwrap().digest;
            (digest(self).await == digest(other).await).then_some(())
        })
        .await;
    }

    pub(super) async fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let report = self.sinks.reports().remove("search");
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {report:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn ask(&self, command: SinkCommand) -> Json {
        self.sinks.ask("search", command).await.unwrap().unwrap()
    }

    /// Has a run carried out, and waits for its end.
    pub(super) async fn order(&self, full: bool, part: Option<RunPart>) -> Job {
        let answer = self.ask(SinkCommand::Run(RunOrder { full, yes: false, part })).await;
        let id = answer["job"].to_string().parse().unwrap();
        let jobs = &self.jobs;
        let job = eventually(|| async move {
            let job = jobs.show(id).await.unwrap();
            job.state.is_end().then_some(job)
        });
        let job = job.await;
        assert_eq!(job.state, JobState::Completed, "{job:?}");
        job
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
