//! A Weaviate at a port of this machine: that of the connectors' own tests, behind [`Web`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

#[path = "../../node/connect/tests/weaviate/mod.rs"]
mod fake;

pub use fake::{Trouble, Weaviate};

use crate::web::{Asked, Web};

/// A server. What it was asked that Weaviate would refuse fails the test at its end.
pub struct Server {
    web: Web,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    there: Mutex<Weaviate>,
    asked: AtomicUsize,
    /// The request that is held up; 0: none.
    held: AtomicUsize,
    is_held_before: AtomicBool,
    is_holding: AtomicBool,
    /// What has to come in `Authorization`; `None`: anybody is let in.
    key: Option<String>,
}

impl Server {
    /// Starts one that has nothing.
    pub fn start() -> Self {
        Self::with(Shared::default())
    }

    /// Starts one that lets those in who come with a key.
    pub fn start_with_key(key: &str) -> Self {
        Self::with(Shared { key: Some(format!("Bearer {key}")), ..Shared::default() })
    }

    fn with(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let answering = Arc::clone(&shared);
        Self { web: Web::start(move |asked| answering.answer(asked)), shared }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.web.url()
    }

    /// What it has.
    pub fn there(&self) -> MutexGuard<'_, Weaviate> {
        self.shared.there()
    }

    /// Holds up one request, that which comes behind so many from now on: before it is carried out, after which it never
    /// is, or with its answer.
    pub fn hold(&self, behind: usize, before: bool) {
        let Shared { asked, held, is_held_before, .. } = &*self.shared;
        is_held_before.store(before, Ordering::SeqCst);
        held.store(asked.load(Ordering::SeqCst) + behind + 1, Ordering::SeqCst);
    }

    /// Whether a request is held up now.
    pub fn is_holding(&self) -> bool {
        self.shared.is_holding.load(Ordering::SeqCst)
    }

    /// Lets go what is held up.
    pub fn let_go(&self) {
        self.shared.held.store(0, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.let_go();
        if !thread::panicking() {
            assert_eq!(self.there().wrong, Vec::<String>::new(), "requests that Weaviate refuses");
        }
    }
}

impl Shared {
    fn there(&self) -> MutexGuard<'_, Weaviate> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, asked: &Asked) -> (u16, String) {
        if self.key.is_some() && asked.header("authorization") != self.key.as_deref() {
            return (401, String::new());
        }
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let is_held = self.held.load(Ordering::SeqCst) == number;
        if is_held && self.is_held_before.load(Ordering::SeqCst) {
            self.hold(number);
            return (503, String::new());
        }
        let answer = self.there().ask(&asked.method, &asked.path, &asked.body);
        if is_held {
            self.hold(number);
        }
        answer
    }

    fn hold(&self, number: usize) {
        self.is_holding.store(true, Ordering::SeqCst);
        while self.held.load(Ordering::SeqCst) == number {
            thread::sleep(Duration::from_millis(1));
        }
        self.is_holding.store(false, Ordering::SeqCst);
    }
}
