//! An extension that counts how often it was asked for each of its tallies, and keeps that in a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, Named};
use branchline_node::extension::{
    Context, ExtensionError, Finding, Part, RESTORED_FILE, Routes, Sections, Severity,
};
use branchline_node::{Config, ConfigError, Extension, Handle};
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where the counts are, in the extension's folder.
pub(crate) const FILE: &str = "counts.json";
/// A file of any size beside it.
pub(crate) const LARGE: &str = "large.bin";

pub(crate) struct Tally;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    tally: Vec<OneTally>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneTally {
    name: Spanned<String>,
    /// What the machine cannot give.
    #[serde(default)]
    impossible: bool,
}

fn names(sections: &Sections) -> Result<Vec<String>, ConfigError> {
    let own: Own = sections.read(&["tally"])?;
    let mut names: Vec<String> = Vec::new();
    for OneTally { name, .. } in own.tally {
        if names.contains(name.get_ref()) {
            return Err(sections
                .refuse(name.span(), format!("the tally {:?} is there twice", name.get_ref())));
        }
        names.push(name.into_inner());
    }
    Ok(names)
}

impl Extension for Tally {
    fn name(&self) -> &'static str {
        "tally"
    }

    fn sections(&self) -> &'static [&'static str] {
        &["tally"]
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        names(&config.sections).map(drop)
    }

    fn open(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Part>, ExtensionError>> {
        async move {
            let Context { handle, folder, config } = context;
            let kept = std::fs::read(folder.join(FILE)).unwrap_or_else(|_| b"{}".to_vec());
            let mut counts: BTreeMap<String, u64> = serde_json::from_slice(&kept)?;
            // What is wrong with it, a node that is to run has reported.
            for name in names(&config.sections).unwrap_or_default() {
                counts.entry(name).or_default();
            }
            let is_restored = folder.join(RESTORED_FILE).exists();
            let counts = Mutex::new(counts);
            let asked = Counter::default();
            let is_at_work = AtomicBool::new(false);
            let inner = Inner { handle, folder, counts, asked, is_restored, is_at_work };
            let inner = Arc::new(inner);
            Ok(Arc::new(Counting(inner)) as Arc<dyn Part>)
        }
        .boxed()
    }
}

struct Inner {
    handle: Handle,
    folder: PathBuf,
    counts: Mutex<BTreeMap<String, u64>>,
    asked: Counter,
    is_restored: bool,
    is_at_work: AtomicBool,
}

struct Counting(Arc<Inner>);

#[derive(Serialize, ToSchema)]
struct TallyAnswer {
    /// How often it was asked for.
    count: u64,
    /// Who counts.
    site: String,
    /// Whether it has begun to work.
    is_at_work: bool,
}

/// A tally, one more than before.
#[utoipa::path(
    get,
    path = "/v1/tallies/{name}",
    operation_id = "get_tally",
    params(("name" = String, Path, max_length = 64)),
    responses((status = OK, description = "The tally.", body = TallyAnswer)),
)]
async fn tally(
    State(inner): State<Arc<Inner>>,
    Named(name): Named<String>,
) -> Result<Json<TallyAnswer>, ApiError> {
    let mut counts = inner.counts.lock().unwrap();
    let missing = || ApiError::new(Code::NotFound, format!("there is no tally {name:?}"));
    let count = counts.get_mut(&name).ok_or_else(missing)?;
    *count += 1;
    inner.asked.inc();
    std::fs::create_dir_all(&inner.folder).unwrap();
    let (count, site) = (*count, inner.handle.site().to_string());
    std::fs::write(inner.folder.join(FILE), serde_json::to_vec(&*counts).unwrap()).unwrap();
    let is_at_work = inner.is_at_work.load(Ordering::SeqCst);
    Ok(Json(TallyAnswer { count, site, is_at_work }))
}

impl Part for Counting {
    fn routes(&self) -> Routes {
        let bounded = OpenApiRouter::default().routes(routes!(tally));
        Routes { bounded: bounded.with_state(Arc::clone(&self.0)), ..Routes::default() }
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ExtensionError>> {
        async {
            // It takes its time.
            for _ in 0..10_000 {
                tokio::task::yield_now().await;
            }
            self.0.is_at_work.store(true, Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }

    fn reload<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            let own: Own = config.sections.read(&["tally"])?;
            if own.tally.iter().any(|tally| tally.impossible) {
                return Err("one of them is impossible".into());
            }
            let mut counts = self.0.counts.lock().unwrap();
            let mut before = std::mem::take(&mut *counts);
            for name in names(&config.sections)? {
                let count = before.remove(&name).unwrap_or_default();
                counts.insert(name, count);
            }
            Ok(())
        }
        .boxed()
    }

    fn metrics(&self, registry: &mut Registry) {
        registry.register("tallies_asked", "Questions for a tally", self.0.asked.clone());
    }

    fn findings(&self) -> BoxFuture<'_, Vec<Finding>> {
        async move {
            let counts = self.0.counts.lock().unwrap();
            let of = |severity, name: &String, what: &str| {
                Finding::new(severity, format!("tally {name}"), what)
            };
            let mut findings: Vec<_> = counts
                .iter()
                .filter(|(_, count)| **count == 0)
                .map(|(name, _)| of(Severity::Info, name, "nobody has asked for it"))
                .collect();
            if self.0.is_restored {
                findings.push(of(Severity::Error, &"all".to_owned(), "come from a backup"));
            }
            findings
        }
        .boxed()
    }

    fn snapshot<'a>(&'a self, into: &'a Path) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            let large = self.0.folder.join(LARGE);
            if large.exists() {
                std::fs::copy(large, into.join(LARGE))?;
            }
            let counts = self.0.counts.lock().unwrap();
            Ok(std::fs::write(into.join(FILE), serde_json::to_vec(&*counts)?)?)
        }
        .boxed()
    }
}
