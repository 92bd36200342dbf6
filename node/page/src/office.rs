//! What the page of one site has to work with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use branchline_node::api::StatusResponse;
use branchline_node::handle::Handle;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::{Mutex, Semaphore};

use crate::ask::{Ask, Refused};
use crate::config::PageConfig;
use crate::live::{Live, Version};
use crate::sign_in::links::Links;
use crate::sign_in::sessions::Sessions;
use crate::sign_in::{Attempts, users};
use crate::trend::Trends;
use crate::views::conflicts::undo::Undos;
use crate::views::findings;
use crate::views::network::ticket::Tickets;
use crate::views::totals::Totals;

/// Passwords that are compared at the same time: each takes a core for some ten milliseconds, and 19 MiB.
const PASSWORDS_AT_ONCE: usize = 2;
/// Requests that are worked on at once: some for each browser of an office. Streams do not count while they wait.
const AT_WORK_MAX: usize = 48;
/// How long what was just answered is shown to others too: less than anybody notices.
const FRESH: Duration = Duration::from_millis(400);
/// What has changed meanwhile is left out for so many times what it took to ask: so others have most of a core.
const REST: u32 = 4;
/// How old the numbers beside the views may be.
const COUNTED: Duration = Duration::from_secs(2);
/// The file of sessions, in the page's folder.
const SESSIONS_FILE: &str = "sessions.json";

/// The status that was asked for last.
struct StatusRead {
    at: Instant,
    took: Duration,
    of: Version,
    status: Arc<StatusResponse>,
}

/// The page of one site.
pub(crate) struct Office {
    pub(crate) handle: Handle,
    /// Where the page keeps its files.
    pub(crate) folder: PathBuf,
    pub(crate) ask: Ask,
    pub(crate) links: Links,
    pub(crate) sessions: Sessions,
    pub(crate) users: users::Watched,
    pub(crate) attempts: Attempts,
    pub(crate) password_turns: Semaphore,
    /// Requests that are worked on at once; others wait.
    pub(crate) at_work: Semaphore,
    pub(crate) live: Live,
    pub(crate) trends: Trends,
    pub(crate) undos: Undos,
    pub(crate) totals: Totals,
    pub(crate) tickets: Tickets,
    /// What was done, or not, and is to be shown until somebody dismisses it.
    pub(crate) notices: crate::layout::Notices,
    config: RwLock<Arc<PageConfig>>,
    zone: RwLock<TimeZone>,
    /// Where it is served, and whether with TLS.
    served: RwLock<Option<(SocketAddr, bool)>>,
    name: RwLock<Option<String>>,
    status: Mutex<Option<StatusRead>>,
    conflicts: AtomicU64,
    errors: AtomicU64,
}

impl Office {
    pub(crate) fn new(handle: Handle, folder: PathBuf, config: PageConfig) -> Self {
        Self {
            ask: Ask::new(handle.clone()),
            links: Links::default(),
            sessions: Sessions::load(&folder.join(SESSIONS_FILE)),
            users: users::Watched::new(&folder),
            attempts: Attempts::default(),
            password_turns: Semaphore::new(PASSWORDS_AT_ONCE),
            at_work: Semaphore::new(AT_WORK_MAX),
            live: Live::new(&handle),
            trends: Trends::default(),
            undos: Undos::default(),
            totals: Totals::default(),
            tickets: Tickets::default(),
            notices: crate::layout::Notices::default(),
            zone: RwLock::new(config.zone()),
            config: RwLock::new(Arc::new(config)),
            served: RwLock::new(None),
            name: RwLock::new(None),
            status: Mutex::new(None),
            conflicts: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            handle,
            folder,
        }
    }

    /// The configuration in use.
    pub(crate) fn config(&self) -> Arc<PageConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_config(&self, config: PageConfig) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = config.zone();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The zone in which times are shown.
    pub(crate) fn zone(&self) -> TimeZone {
        self.zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_served(&self, served: Option<(SocketAddr, bool)>) {
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
    }

    /// Where it is served.
    pub(crate) fn served(&self) -> Option<(SocketAddr, bool)> {
        *self.served.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is served with TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.served().is_some_and(|(_, is_encrypted)| is_encrypted)
    }

    /// The name of its cookie: cookies know no ports, so it holds the site's id. With TLS the browser takes it from this
    /// host alone.
    pub(crate) fn cookie_name(&self) -> String {
        let before = if self.is_encrypted() { "__Host-" } else { "" };
        format!("{before}branchline-{}", self.handle.site())
    }

    /// What the site knows of itself and the others, asked for once for all who want it at the same time.
    pub(crate) async fn status(&self) -> Result<Arc<StatusResponse>, Refused> {
        self.status_of(FRESH).await
    }

    /// Sees to it that the numbers beside the views, which stand on all of them, are not old.
    pub(crate) async fn count(&self) {
        // A view that needs the answer itself says what is wrong.
        let _ = self.status_of(COUNTED).await;
    }

    async fn status_of(&self, age_max: Duration) -> Result<Arc<StatusResponse>, Refused> {
        let mut kept = self.status.lock().await;
        let (at, of) = (Instant::now(), self.live.version());
        // Where something has changed since, it serves for no longer than a page waits before it asks again.
        let is_fresh = |kept: &&StatusRead| {
            let age_max = if kept.of == of { age_max } else { age_max.min(kept.took * REST) };
            at.duration_since(kept.at) < age_max
        };
        if let Some(kept) = kept.as_ref().filter(is_fresh) {
            return Ok(Arc::clone(&kept.status));
        }
        let status: Arc<StatusResponse> = Arc::new(self.ask.get("/v1/status").await?);
        *kept = Some(StatusRead { at, took: at.elapsed(), of, status: Arc::clone(&status) });
        self.conflicts.store(status.conflicts, Ordering::Relaxed);
        self.errors.store(findings::errors(&status), Ordering::Relaxed);
        Ok(status)
    }

    /// Conflicts when they were last counted.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// What was to be mended when that was last looked at.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// The time of this machine's clock.
    pub(crate) fn now_ms(&self) -> i64 {
        Timestamp::now().as_millisecond()
    }

    /// What this office is called, as far as is known.
    pub(crate) fn name(&self) -> String {
        let name = self.name.read().unwrap_or_else(PoisonError::into_inner);
        name.clone().unwrap_or_else(|| "Branchline".to_owned())
    }

    /// Takes note of what this office is called.
    pub(crate) async fn learn_name(&self) {
        if let Ok(status) = self.handle.replica_status().await {
            *self.name.write().unwrap_or_else(PoisonError::into_inner) = Some(status.name);
        }
    }
}
