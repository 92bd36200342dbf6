//! A Weaviate for tests, without a socket: it stores equal edges twice unless it was asked not to, takes edges to nowhere, drops
//! an object's edges when the object is written over, and fails items inside an answer of 200. What is no request of its
//! interface it answers with 422, and keeps for the test to fail.
#![allow(unreachable_pub, dead_code, reason = "each of those that include this uses a part of it")]

mod requests;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

/// What the server has.
#[derive(Default)]
pub struct Weaviate {
    /// By class: its properties as they were made.
    pub classes: BTreeMap<String, BTreeMap<String, Json>>,
    /// By class and id.
    pub objects: BTreeMap<(String, String), Json>,
    /// By class, id and property: beacons, with those that are there twice.
    pub edges: BTreeMap<(String, String, String), Vec<String>>,
    /// Requests as they came: method and path.
    pub asked: Vec<(String, String)>,
    /// Bytes of all their bodies.
    pub bytes: u64,
    /// Requests that this interface does not know, with what is wrong with them.
    pub wrong: Vec<String>,
    /// What it does wrong.
    pub trouble: Trouble,
}

/// What the server does wrong.
#[derive(Default)]
pub struct Trouble {
    /// Keeps equal edges although it was asked not to: an older one.
    pub is_old: bool,
    /// Fails objects that have this text in them, inside an answer of 200.
    pub fails: Option<String>,
    /// Fails edges that have this text in them, inside an answer of 200.
    pub fails_edges: Option<String>,
    /// Refuses a batch as a whole that has this text in it.
    pub refuses: Option<String>,
    /// Answers so often with this status, whatever is asked.
    pub status: Option<(u16, usize)>,
    /// Carries a batch out, so often, and answers 502.
    pub loses: usize,
}

fn error(what: &str) -> Json {
    json!({ "error": [{ "message": what }] })
}

fn refused(what: &str) -> (u16, Json) {
    (422, error(what))
}

fn failed(what: &str) -> Json {
    json!({ "status": "FAILED", "errors": error(what) })
}

impl Weaviate {
    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked.iter().filter(|(_, asked)| asked == path).count()
    }

    /// Edges, with those that are there twice.
    pub fn edges_in_all(&self) -> usize {
        self.edges.values().map(Vec::len).sum()
    }

    /// Answers a request: a status, and a body of JSON or an empty one.
    pub fn ask(&mut self, method: &str, uri: &str, body: &str) -> (u16, String) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        self.asked.push((method.to_owned(), path.to_owned()));
        self.bytes += body.len() as u64;
        let body: Json = match body {
            "" => Json::Null,
            // What is no JSON fits no request.
            body => serde_json::from_str(body).unwrap_or_else(|_| Json::String(body.to_owned())),
        };
        if let Err(what) = requests::check(method, path, query, &body) {
            self.wrong.push(format!("{method} {uri}: {what}"));
            return (422, error(&what).to_string());
        }
        if let Some((status, left)) = self.trouble.status {
            self.trouble.status = (left > 1).then_some((status, left - 1));
            return (status, error("busy").to_string());
        }
        let (status, answer) = self.answer(method, path, &body);
        if self.trouble.loses > 0 && path.starts_with("/v1/batch/") {
            self.trouble.loses -= 1;
            return (502, error("lost").to_string());
        }
        let is_empty = answer == Json::Null;
        (status, if is_empty { String::new() } else { answer.to_string() })
    }

    fn answer(&mut self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["schema", class]) => self.class(class),
            ("POST", ["schema"]) => self.make_class(body),
            ("POST", ["schema", class, "properties"]) => self.add_property(class, body),
            ("POST", ["batch", "objects"]) => {
                if self.trouble.refuses.as_ref().is_some_and(|text| body.to_string().contains(text))
                {
                    return refused("invalid body");
                }
                let objects = body["objects"].as_array().into_iter().flatten();
                (200, objects.map(|object| self.put(object)).collect())
            }
            ("POST", ["batch", "references"]) => {
                let edges = body.as_array().into_iter().flatten();
                (200, edges.map(|edge| self.link(edge)).collect())
            }
            ("PUT", ["objects", class, id, "references", property]) => {
                let key = [class, id, property].map(|part| (*part).to_owned());
                self.replace(key.into(), body)
            }
            ("DELETE", ["objects", class, id]) => {
                let key = ((*class).to_owned(), (*id).to_owned());
                self.cut(&key);
                match self.objects.remove(&key) {
                    Some(_) => (204, Json::Null),
                    None => (404, Json::Null),
                }
            }
            _ => (405, error("not allowed")),
        }
    }

    fn class(&self, class: &str) -> (u16, Json) {
        let Some(properties) = self.classes.get(class) else { return (404, Json::Null) };
        let mut properties: Vec<Json> = properties.values().cloned().collect();
        if self.trouble.is_old {
            for property in properties.iter_mut().filter_map(Json::as_object_mut) {
                property.remove("disableDuplicatedReferences");
            }
        }
        (200, json!({ "class": class, "properties": properties }))
    }

    fn make_class(&mut self, body: &Json) -> (u16, Json) {
        let properties = body["properties"].as_array().into_iter().flatten();
        let properties = properties.map(|property| (text(&property["name"]), property.clone()));
        self.classes.insert(text(&body["class"]), properties.collect());
        (200, body.clone())
    }

    fn add_property(&mut self, class: &str, body: &Json) -> (u16, Json) {
        let kind = text(&body["dataType"][0]);
        let is_class = kind.starts_with(|first: char| first.is_ascii_uppercase());
        if is_class && !self.classes.contains_key(&kind) {
            return refused("no such class");
        }
        let Some(properties) = self.classes.get_mut(class) else { return refused("no such class") };
        let name = text(&body["name"]);
        if properties.contains_key(&name) {
            return refused("it is there already");
        }
        properties.insert(name, body.clone());
        (200, body.clone())
    }

    fn put(&mut self, object: &Json) -> Json {
        let mut answer = object.clone();
        answer["result"] = match self.store(object) {
            Ok(()) => json!({ "status": "SUCCESS" }),
            Err(what) => failed(&what),
        };
        answer
    }

    fn store(&mut self, object: &Json) -> Result<(), String> {
        let (class, id) = (text(&object["class"]), text(&object["id"]));
        let Some(known) = self.classes.get(&class) else { return Err("no such class".to_owned()) };
        for (name, value) in object["properties"].as_object().into_iter().flatten() {
            let Some(property) = known.get(name) else {
                return Err("auto schema would have guessed".to_owned());
            };
            let is_fit = match text(&property["dataType"][0]).as_str() {
                "text" | "date" => value.is_string(),
                "number" | "int" => value.is_number(),
                "boolean" => value.is_boolean(),
                kind => kind.ends_with("[]") && value.is_array(),
            };
            if !is_fit {
                return Err(format!("invalid property {name}"));
            }
        }
        if self.trouble.fails.as_ref().is_some_and(|text| object.to_string().contains(text)) {
            return Err("vectorizer: no vector for this".to_owned());
        }
        // An object that is written over has no edges any more.
        let key = (class, id);
        self.cut(&key);
        self.objects.insert(key, object["properties"].clone());
        Ok(())
    }

    /// The edges of an object are gone.
    fn cut(&mut self, (class, id): &(String, String)) {
        let first = (class.clone(), id.clone(), String::new());
        let of_object = self.edges.range(first..).map(|(key, _)| key);
        let of_object = of_object.take_while(|key| (&key.0, &key.1) == (class, id)).cloned();
        for key in of_object.collect::<Vec<_>>() {
            self.edges.remove(&key);
        }
    }

    /// An edge that fails is not named in the answer: its place in it says which one it is.
    fn link(&mut self, edge: &Json) -> Json {
        let (from, to) = (text(&edge["from"]), text(&edge["to"]));
        let mut parts = from.trim_start_matches("weaviate://localhost/").splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let key = (part(), part(), part());
        let property = self.classes.get(&key.0).and_then(|class| class.get(&key.2));
        let Some(property) = property else {
            return json!({ "result": failed("no such property") });
        };
        if self.trouble.fails_edges.as_ref().is_some_and(|text| edge.to_string().contains(text)) {
            return json!({ "result": failed("no reference can be made of this") });
        }
        let is_unique =
            property["disableDuplicatedReferences"] == json!(true) && !self.trouble.is_old;
        let edges = self.edges.entry(key).or_default();
        if !is_unique || !edges.contains(&to) {
            edges.push(to.clone());
        }
        json!({ "from": from, "to": to, "result": { "status": "SUCCESS" } })
    }

    fn replace(&mut self, key: (String, String, String), body: &Json) -> (u16, Json) {
        if !self.objects.contains_key(&(key.0.clone(), key.1.clone())) {
            return (404, Json::Null);
        }
        if self.trouble.fails_edges.as_ref().is_some_and(|text| body.to_string().contains(text)) {
            return refused("no reference can be made of this");
        }
        let beacons = body.as_array().into_iter().flatten().map(|item| text(&item["beacon"]));
        self.edges.insert(key, beacons.collect());
        (200, Json::Null)
    }
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
