//! A Weaviate for tests, over a real socket: it stores equal edges twice unless it was asked not to, takes edges to nowhere,
//! drops an object's edges when the object is written over, fails items inside an answer of 200, and says 429.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;

/// What the server has.
#[derive(Default)]
pub(super) struct There {
    /// By class: its properties as they were made.
    pub(super) classes: BTreeMap<String, BTreeMap<String, Json>>,
    /// By class and id.
    pub(super) objects: BTreeMap<(String, String), Json>,
    /// By class, id and property: beacons, with those that are there twice.
    pub(super) edges: BTreeMap<(String, String, String), Vec<String>>,
    /// Requests as they came: method, path, body.
    pub(super) asked: Vec<(String, String, Json)>,
    pub(super) trouble: Trouble,
}

/// What the server does wrong.
#[derive(Default)]
pub(super) struct Trouble {
    /// Keeps equal edges although it was asked not to: an older one.
    pub(super) is_old: bool,
    /// Fails objects that have this text in them, inside an answer of 200.
    pub(super) fails: Option<String>,
    /// Refuses a batch as a whole that has this text in it.
    pub(super) refuses: Option<String>,
    /// Answers so often with this status, whatever is asked.
    pub(super) status: Option<(u16, usize)>,
    /// Carries a batch out, so often, and answers 502.
    pub(super) loses: usize,
}

impl There {
    /// How often batches of a kind were asked for.
    pub(super) fn count(&self, path: &str) -> usize {
        self.asked.iter().filter(|(_, asked, _)| asked == path).count()
    }

    pub(super) fn edges_in_all(&self) -> usize {
        self.edges.values().map(Vec::len).sum()
    }

    fn put(&mut self, object: &Json) -> Json {
        let text = |name: &str| object[name].as_str().unwrap().to_owned();
        let (class, id) = (text("class"), text("id"));
        let failed = |what: &str| {
            let errors = json!({ "error": [{ "message": what }] });
            json!({ "class": class, "id": id, "result": { "status": "FAILED", "errors": errors } })
        };
        let Some(known) = self.classes.get(&class) else { return failed("no such class") };
        for (name, value) in object["properties"].as_object().unwrap() {
            let Some(kind) = known.get(name) else {
                return failed("auto schema would have guessed");
            };
            let is_fit = match kind["dataType"][0].as_str().unwrap() {
                "text" | "date" => value.is_string(),
                "number" | "int" => value.is_number(),
                "boolean" => value.is_boolean(),
                kind => kind.ends_with("[]") && value.is_array(),
            };
            if !is_fit {
                return failed(&format!("invalid property {name}"));
            }
        }
        if self.trouble.fails.as_ref().is_some_and(|text| object.to_string().contains(text)) {
            return failed("vectorizer: no vector for this");
        }
        // An object that is written over has no edges any more.
        self.edges.retain(|(of, at, _), _| (of, at) != (&class, &id));
        self.objects.insert((class.clone(), id.clone()), object["properties"].clone());
        json!({ "class": class, "id": id, "result": { "status": "SUCCESS" } })
    }

    fn link(&mut self, edge: &Json) -> Json {
        let from = edge["from"].as_str().unwrap().trim_start_matches("weaviate://localhost/");
        let to = edge["to"].as_str().unwrap().to_owned();
        let mut parts = from.split('/').map(str::to_owned);
        let mut part = || parts.next().unwrap();
        let key = (part(), part(), part());
        let Some(property) = self.classes.get(&key.0).and_then(|class| class.get(&key.2)) else {
            let errors = json!({ "error": [{ "message": "no such property" }] });
            return json!({ "from": edge["from"], "to": to, "result": { "status": "FAILED", "errors": errors } });
        };
        let is_unique =
            property["disableDuplicatedReferences"] == json!(true) && !self.trouble.is_old;
        let edges = self.edges.entry(key).or_default();
        if !is_unique || !edges.contains(&to) {
            edges.push(to.clone());
        }
        json!({ "from": edge["from"], "to": to, "result": { "status": "SUCCESS" } })
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Json) -> (StatusCode, Json) {
        let refused = |what: &str| {
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": [{ "message": what }] }))
        };
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match (method.as_str(), &parts[..]) {
            ("GET", ["schema", class]) => match self.classes.get(*class) {
                None => (StatusCode::NOT_FOUND, Json::Null),
                Some(properties) => {
                    let mut properties: Vec<Json> = properties.values().cloned().collect();
                    if self.trouble.is_old {
                        properties.iter_mut().for_each(|property| {
                            property.as_object_mut().unwrap().remove("disableDuplicatedReferences");
                        });
                    }
                    (StatusCode::OK, json!({ "class": class, "properties": properties }))
                }
            },
            ("POST", ["schema"]) => {
                let name = |property: &Json| property["name"].as_str().unwrap().to_owned();
                let properties = body["properties"].as_array().unwrap();
                let properties =
                    properties.iter().map(|property| (name(property), property.clone()));
                self.classes
                    .insert(body["class"].as_str().unwrap().to_owned(), properties.collect());
                (StatusCode::OK, body.clone())
            }
            ("POST", ["schema", class, "properties"]) => {
                let kind = body["dataType"][0].as_str().unwrap();
                let is_class = kind.starts_with(|first: char| first.is_ascii_uppercase());
                if is_class && !self.classes.contains_key(kind) {
                    return refused("no such class");
                }
                let properties = self.classes.get_mut(*class).unwrap();
                let name = body["name"].as_str().unwrap().to_owned();
                if properties.contains_key(&name) {
                    return refused("it is there already");
                }
                properties.insert(name, body.clone());
                (StatusCode::OK, body.clone())
            }
            ("POST", ["batch", "objects"]) => {
                let objects = body["objects"].as_array().unwrap();
                if self.trouble.refuses.as_ref().is_some_and(|text| body.to_string().contains(text))
                {
                    return refused("invalid body");
                }
                let items = objects.iter().map(|object| self.put(object)).collect();
                (StatusCode::OK, Json::Array(items))
            }
            ("POST", ["batch", "references"]) => {
                let edges = body.as_array().unwrap();
                if edges.is_empty() {
                    return refused("empty list");
                }
                let items = edges.iter().map(|edge| self.link(edge)).collect();
                (StatusCode::OK, Json::Array(items))
            }
            ("PUT", ["objects", class, id, "references", property]) => {
                let key = ((*class).to_owned(), (*id).to_owned(), (*property).to_owned());
                if !self.objects.contains_key(&(key.0.clone(), key.1.clone())) {
                    return (StatusCode::NOT_FOUND, Json::Null);
                }
                let beacon = |item: &Json| item["beacon"].as_str().unwrap().to_owned();
                self.edges.insert(key, body.as_array().unwrap().iter().map(beacon).collect());
                (StatusCode::OK, Json::Null)
            }
            ("DELETE", ["objects", class, id]) => {
                let key = ((*class).to_owned(), (*id).to_owned());
                self.edges.retain(|(class, id, _), _| (class, id) != (&key.0, &key.1));
                match self.objects.remove(&key) {
                    Some(_) => (StatusCode::NO_CONTENT, Json::Null),
                    None => (StatusCode::NOT_FOUND, Json::Null),
                }
            }
            _ => (StatusCode::METHOD_NOT_ALLOWED, Json::Null),
        }
    }
}

pub(super) struct Server {
    pub(super) url: String,
    there: Arc<Mutex<There>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let there: Arc<Mutex<There>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(Arc::clone(&there));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, there, task }
    }

    pub(super) fn there(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap()
    }
}

async fn handle(
    State(there): State<Arc<Mutex<There>>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let mut there = there.lock().unwrap();
    let body: Json =
        if body.is_empty() { Json::Null } else { serde_json::from_slice(&body).unwrap() };
    let path = uri.path().to_owned();
    there.asked.push((method.to_string(), path.clone(), body.clone()));
    let mut headers = HeaderMap::new();
    if let Some((status, left)) = there.trouble.status {
        there.trouble.status = (left > 1).then_some((status, left - 1));
        headers.insert("retry-after", HeaderValue::from_static("0"));
        return (StatusCode::from_u16(status).unwrap(), headers, "busy").into_response();
    }
    let (status, answer) = there.answer(&method, &path, &body);
    if there.trouble.loses > 0 && path.starts_with("/v1/batch/") {
        there.trouble.loses -= 1;
        return (StatusCode::BAD_GATEWAY, "lost").into_response();
    }
    match answer {
        Json::Null => status.into_response(),
        answer => (status, axum::Json(answer)).into_response(),
    }
}
