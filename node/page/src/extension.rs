//! What the page adds to a node: the section `[page]`, a path of its API that makes links to sign in, and a server of its
//! own beside the API.
//!
//! Where no section asks for it, the page is served from the first `branchline open` on, and after a restart again: who
//! never looks at it has no open port for it.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code};
use branchline_node::extension::{Context, ExtensionError, Part, Routes};
use branchline_node::handle::Handle;
use branchline_node::{Config, ConfigError, Extension};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{PageConfig, SECTION};
use crate::office::Office;
use crate::server::{self, Server};
use crate::sign_in::links;
use crate::sign_in::users::private_folder;
use crate::trend;

/// The page's folder, in the data folder.
const NAME: &str = "page";

/// The page, for [`branchline_node::Node::builder`].
#[must_use]
pub fn extension() -> Arc<dyn Extension> {
    Arc::new(Page)
}

struct Page;

impl Extension for Page {
    fn name(&self) -> &'static str {
        NAME
    }

    fn sections(&self) -> &'static [&'static str] {
        &[SECTION]
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        PageConfig::read(&config.sections, &config.data.join(NAME)).map(|_| ())
    }

    fn open(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Part>, ExtensionError>> {
        async move {
            let Context { handle, folder, config } = context;
            // A node that is to run has reported what is wrong with it; other commands work without.
            let read = PageConfig::read(&config.sections, &folder);
            let read = read.or_else(|_| PageConfig::read(&Default::default(), &folder))?;
            let office = Arc::new(Office::new(handle, folder, read));
            Ok(Arc::new(Served { office, at_work: Arc::default() }) as Arc<dyn Part>)
        }
        .boxed()
    }
}

/// The page of one site.
#[derive(Clone)]
struct Served {
    office: Arc<Office>,
    at_work: Arc<Mutex<AtWork>>,
}

#[derive(Default)]
struct AtWork {
    /// Whether the node runs.
    runs: bool,
    server: Option<Server>,
    noting: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves the page, if it is not served already.
    async fn serve(&self, at_work: &mut AtWork) -> Result<(), String> {
        if at_work.server.is_some() {
            return Ok(());
        }
        let folder = &self.office.folder;
        private_folder(folder)
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        self.office.live.start();
        at_work.server = Some(Server::start(Arc::clone(&self.office)).await?);
        at_work.noting = Some(tokio::spawn(note(Arc::clone(&self.office))));
        Ok(())
    }

    async fn end(&self, at_work: &mut AtWork) {
        if let Some(noting) = at_work.noting.take() {
            noting.abort();
        }
        if let Some(server) = at_work.server.take() {
            server.stop().await;
            self.office.set_served(None);
            self.office.sessions.close(self.office.now_ms());
        }
        self.office.ask.close();
    }
}

impl Part for Served {
    fn routes(&self) -> Routes {
        let bounded: OpenApiRouter<Handle> =
            OpenApiRouter::default().routes(routes!(link)).with_state(self.clone());
        Routes { bounded, unbounded: OpenApiRouter::default() }
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ExtensionError>> {
        async {
            let mut at_work = self.at_work.lock().await;
            at_work.runs = true;
            let is_wanted =
                self.office.config().is_configured || server::was_served(&self.office.folder);
            if is_wanted { Ok(self.serve(&mut at_work).await?) } else { Ok(()) }
        }
        .boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async {
            let mut at_work = self.at_work.lock().await;
            at_work.runs = false;
            self.end(&mut at_work).await;
        }
        .boxed()
    }

    fn reload<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            let read = PageConfig::read(&config.sections, &self.office.folder)?;
            let mut at_work = self.at_work.lock().await;
            let before = self.office.config();
            let is_served = at_work.server.is_some();
            let is_elsewhere = before.listen != read.listen || before.tls != read.tls;
            let is_wanted = is_served || read.is_configured;
            self.office.set_config(read);
            if is_served && is_elsewhere {
                self.end(&mut at_work).await;
            }
            if !is_wanted {
                return Ok(());
            }
            match self.serve(&mut at_work).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.office.set_config((*before).clone());
                    if is_served {
                        self.serve(&mut at_work).await?;
                    }
                    Err(error.into())
                }
            }
        }
        .boxed()
    }
}

/// Notes now and then how the offices stand.
async fn note(office: Arc<Office>) {
    loop {
        if let Ok(status) = office.handle.replica_status().await {
            let counts = status.sites.iter().map(|site| {
                let count =
                    site.lag_entries.unwrap_or(0).saturating_add(site.ahead_entries.unwrap_or(0));
                (site.site.to_string(), count)
            });
            office.trends.note(counts, Instant::now());
        }
        tokio::time::sleep(trend::PACE).await;
    }
}

/// A link that signs its holder in, once, as the owner of the data folder.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PageLinkResponse {
    /// The link, for a browser of this machine, or of one that reaches the address in it.
    pub link: String,
    /// After this moment (RFC 3339) it signs nobody in.
    pub expires: String,
    /// Whether it is served with TLS.
    pub encrypted: bool,
}

/// Makes a link that signs somebody in to the page, once. The page is served from now on.
#[utoipa::path(
    post,
    path = "/v1/page/link",
    operation_id = "create_page_link",
    responses((status = OK, description = "The link.", body = PageLinkResponse)),
)]
async fn link(State(served): State<Served>) -> Result<Json<PageLinkResponse>, ApiError> {
    let office = &served.office;
    let mut at_work = served.at_work.lock().await;
    if !at_work.runs {
        let message = "no node is running here to serve the page";
        return Err(ApiError::new(Code::Stopped, message)
            .hint("start it with `branchline run`, then open the page"));
    }
    served.serve(&mut at_work).await.map_err(|message| ApiError::new(Code::Conflict, message))?;
    drop(at_work);
    let Some((address, encrypted)) = office.served() else {
        return Err(ApiError::new(Code::Internal, "the page is not served"));
    };
    let secret = office.links.make(Instant::now()).ok_or_else(|| {
        ApiError::new(Code::Internal, "this machine provides no random bytes for the link")
    })?;
    let scheme = if encrypted { "https" } else { "http" };
    // What listens everywhere is reached on this machine too.
    let host = if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    };
    let lifetime = i64::try_from(links::LIFETIME.as_millis()).unwrap_or(i64::MAX);
    let expires = Timestamp::from_millisecond(office.now_ms().saturating_add(lifetime));
    Ok(Json(PageLinkResponse {
        link: format!("{scheme}://{host}/sign-in/{secret}"),
        expires: expires.map(|moment| moment.to_string()).unwrap_or_default(),
        encrypted,
    }))
}
