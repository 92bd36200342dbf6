//! A service that keeps orders, and that a test lets hold its answers: what was carried out is not known then to the one who asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use branchline_tests::web::{Asked, Web};
use branchline_tests::{DEADLINE, eventually};
use serde_json::{Value, json};

/// How the service knows a request that it has carried out already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knows {
    /// By the key of a create.
    Keys,
    /// It does not, and can be asked which orders it has.
    Lookup,
}

/// The service.
pub(super) struct Erp {
    web: Web,
    knows: Knows,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<u64, Value>,
    keys: BTreeMap<String, (Value, u64)>,
    number: u64,
    /// Requests that are carried out before answers are held.
    free: Option<u64>,
    held: u64,
    /// Creates that came before, or were found, because their answer was lost.
    repeated: u64,
    deleted: u64,
}

impl Kept {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn answer(&self, asked: &Asked, knows: Knows) -> (u16, String) {
        let mut inner = self.inner();
        let (status, body) = inner.carry_out(asked, knows);
        if asked.method != "GET" {
            let is_held = inner.free.is_some_and(|free| free == 0);
            if is_held {
                inner.held += 1;
                let waited =
                    self.changed.wait_timeout_while(inner, DEADLINE, |inner| inner.free.is_some());
                drop(waited.unwrap());
            } else if let Some(free) = &mut inner.free {
                *free -= 1;
            }
        }
        (status, body.to_string())
    }
}

impl Inner {
    fn carry_out(&mut self, asked: &Asked, knows: Knows) -> (u16, Value) {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let id = asked.path.strip_prefix("/orders/").map(|id| id.parse().unwrap());
        match (asked.method.as_str(), id) {
            ("POST", None) => {
                let key = asked.header("idempotency-key").unwrap().to_owned();
                if knows == Knows::Keys
                    && let Some((sent, id)) = self.keys.get(&key)
                {
                    assert_eq!(*sent, body, "a key is of one body");
                    self.repeated += 1;
                    return (200, json!({ "id": id }));
                }
                self.number += 1;
                self.objects.insert(self.number, body.clone());
                self.keys.insert(key, (body, self.number));
                (201, json!({ "id": self.number }))
            }
            ("GET", None) => {
                let wanted = asked.path.split("ref=").nth(1).unwrap();
                let found = self.objects.iter().filter(|(_, object)| object["ref"] == wanted);
                let items: Vec<_> = found.map(|(id, _)| json!({ "id": id })).collect();
                self.repeated += u64::from(!items.is_empty());
                (200, json!({ "items": items }))
            }
            ("PUT", Some(id)) if self.objects.contains_key(&id) => {
                self.objects.insert(id, body);
                (200, json!({}))
            }
            ("DELETE", Some(id)) if self.objects.remove(&id).is_some() => {
                self.deleted += 1;
                (200, json!({}))
            }
            _ => (404, json!({ "error": "there is no such order" })),
        }
    }
}

impl Erp {
    pub(super) fn start(knows: Knows) -> Self {
        let kept = Arc::<Kept>::default();
        let shared = Arc::clone(&kept);
        let web = Web::start(move |asked| shared.answer(asked, knows));
        Self { web, knows, kept }
    }

    /// The configuration of a sink called `erp`.
    pub(super) fn config(&self) -> String {
        let url = self.web.url();
        let lookup = match self.knows {
            Knows::Keys => String::new(),
            Knows::Lookup => {
                format!("lookup = \"{url}/orders?ref={{ref}}\"\nlookup_id = \".items[0].id\"\n")
            }
        };
        format!(
            "[[sink]]\nname = \"erp\"\nkind = \"http\"\ncollection = \"orders\"\nas = \"order\"\n\
             related = [{{ collection = \"billing\", as = \"billing\", by = \"order_id\" }}]\n\
             translate = '{{ ref: .order.ref, country: .billing.country }}'\nallow = [\"127.0.0.1\"]\nconcurrency = 3\n\
             retry = {{ first = \"10ms\", multiplier = 2.0, max_delay = \"100ms\", attempts = 5 }}\n\
             [sink.create]\nmethod = \"POST\"\nurl = \"{url}/orders\"\nremote_id = \".id\"\n{lookup}\
             [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}\"\n\
             [sink.delete]\nmethod = \"DELETE\"\nurl = \"{url}/orders/{{remote_id}}\"\n"
        )
    }

    /// Answers are held once so many more requests were carried out and answered; waits until one is.
    pub(super) fn hold_behind(&self, free: u64) {
        self.kept.inner().free = Some(free);
        eventually("a request was carried out and has no answer", || self.kept.inner().held > 0);
    }

    /// Those that wait are answered, and all that come.
    pub(super) fn release(&self) {
        let mut inner = self.kept.inner();
        inner.free = None;
        inner.held = 0;
        self.kept.changed.notify_all();
    }

    /// What there is, sorted.
    pub(super) fn orders(&self) -> Vec<String> {
        let mut orders: Vec<_> = self.kept.inner().objects.values().map(order).collect();
        orders.sort();
        orders
    }

    /// Creates that came before or were found, and orders that were deleted.
    pub(super) fn counts(&self) -> (u64, u64) {
        let inner = self.kept.inner();
        (inner.repeated, inner.deleted)
    }
}

/// An order in one line.
pub(super) fn order(object: &Value) -> String {
    format!("{} {}", object["ref"], object["country"])
}
