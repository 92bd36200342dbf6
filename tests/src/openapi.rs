//! The API's description in OpenAPI, and whether answers are as it says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Office, client};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// What a node serves at `/v1/openapi.json`.
pub struct Document {
    json: Value,
}

/// A method in lower case, and a path with its parameters' names in braces.
pub type Operation = (String, String);

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's content type, if it has one.
    pub content_type: Option<String>,
    /// The answer's body.
    pub body: Vec<u8>,
}

impl Document {
    /// Asks a running node for it, without a token.
    pub fn of(office: &Office) -> Self {
        let (address, _) = office.api();
        let answer = client().get(format!("http://{address}/v1/openapi.json")).send();
        Self { json: answer.expect("an answer").json().expect("JSON") }
    }

    /// The description itself.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// All that is described.
    pub fn operations(&self) -> BTreeSet<Operation> {
        let of_path = |(path, item): (&String, &Value)| {
            let described = METHODS.iter().filter(|method| item.get(**method).is_some());
            described.map(|method| ((*method).to_owned(), path.clone())).collect::<Vec<_>>()
        };
        self.paths().iter().flat_map(of_path).collect()
    }

    fn paths(&self) -> &serde_json::Map<String, Value> {
        self.json["paths"].as_object().expect("paths")
    }

    /// Panics unless the answer is one of those described for its request. Returns the operation.
    #[track_caller]
    pub fn check(&self, exchange: &Exchange) -> Operation {
        let Exchange { method, path, status, body, .. } = exchange;
        let reported = String::from_utf8_lossy(body);
        let method = method.to_ascii_lowercase();
        let template = self.template(path).unwrap_or_else(|| panic!("{path} is not described"));
        let responses = &self.paths()[template][&method]["responses"];
        let described = match responses.get(status.to_string()) {
            None if *status >= 400 => &responses["default"],
            found => found.unwrap_or(&Value::Null),
        };
        assert!(described.is_object(), "{method} {path}: {status} is not described: {reported}");
        match described.get("content").and_then(Value::as_object) {
            None => {
                assert!(body.is_empty(), "{method} {path}: no content is described: {reported}")
            }
            Some(kinds) => {
                let found = essence(exchange.content_type.as_deref().unwrap_or_default());
                let kind = kinds.iter().find(|(kind, _)| essence(kind) == found);
                let (kind, content) = kind.unwrap_or_else(|| {
                    panic!("{method} {path}: {found:?} is not described: {reported}")
                });
                match essence(kind) {
                    "application/json" => self.check_json(&content["schema"], body, exchange),
                    "text/event-stream" => self.check_events(&reported, exchange),
                    _ => {}
                }
            }
        }
        (method, template.to_owned())
    }

    /// The described path that a request's path is of: the one with the fewest parameters.
    fn template(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or_default();
        let parameters = |template: &&String| template.matches('{').count();
        let is_of = |template: &&String| {
            let same = template.split('/').count() == path.split('/').count();
            let mut pairs = template.split('/').zip(path.split('/'));
            same && pairs.all(|(expected, found)| expected.starts_with('{') || expected == found)
        };
        self.paths().keys().filter(is_of).min_by_key(parameters).map(String::as_str)
    }

    fn check_json(&self, schema: &Value, body: &[u8], exchange: &Exchange) {
        let Exchange { method, path, .. } = exchange;
        let found: Value = serde_json::from_slice(body)
            .unwrap_or_else(|error| panic!("{method} {path}: no JSON: {error}"));
        // References go to where components stand in the description.
        let schema = json!({"allOf": [schema], "components": self.json["components"]});
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema)
            .expect("a sound schema");
        let faults: Vec<_> = validator.iter_errors(&found).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}\n{found:#}");
    }

    fn check_events(&self, text: &str, exchange: &Exchange) {
        let schema = json!({"$ref": "#/components/schemas/FeedItemResponse"});
        for line in text.lines() {
            if let Some(data) = line.strip_prefix("data: ") {
                self.check_json(&schema, data.as_bytes(), exchange);
            }
        }
    }
}

/// A content type without its parameters.
fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or_default().trim()
}
