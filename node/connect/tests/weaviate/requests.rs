//! Every request is one that Weaviate's interface knows.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value as Json, json};

/// The requests that are used, by method and path.
static REQUESTS: LazyLock<Json> =
    LazyLock::new(|| serde_json::from_str(include_str!("requests.json")).unwrap());

/// Sees that a request is as it should be.
pub(super) fn check(method: &str, path: &str, body: &Json) {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let name = match (method, &parts[..]) {
        ("GET", ["schema", _]) | ("DELETE", ["objects", _, _]) => {
            assert_eq!(*body, Json::Null, "{method} {path}");
            return;
        }
        ("POST", ["schema"]) => "POST /v1/schema",
        ("POST", ["schema", _, "properties"]) => "POST /v1/schema/{class}/properties",
        ("POST", ["batch", "objects"]) => "POST /v1/batch/objects",
        ("POST", ["batch", "references"]) => "POST /v1/batch/references",
        ("PUT", ["objects", _, _, "references", _]) => {
            "PUT /v1/objects/{class}/{id}/references/{property}"
        }
        other => panic!("no request of this kind is known: {other:?}"),
    };
    let mut schema = REQUESTS["$defs"][name].clone();
    assert!(schema.is_object(), "no schema of {name}");
    schema["$defs"] = REQUESTS["$defs"].clone();
    let validator: Validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?}\n{body:#}");
}

#[test]
fn requests_that_weaviate_would_refuse_are_found() {
    let id = "2ed6657d-e927-568b-95e1-2665a8aea6a2";
    let to = format!("weaviate://localhost/Customer/{id}");
    check(
        "POST",
        "/v1/batch/references",
        &json!([{ "from": format!("{to}/hasCustomer"), "to": to }]),
    );
    for (path, body) in [
        // The order of the interface's own description.
        (
            "/v1/batch/references",
            json!([{ "from": format!("weaviate://localhost/objects/{id}/Order/hasCustomer"), "to": to }]),
        ),
        ("/v1/batch/references", json!([])),
        (
            "/v1/batch/objects",
            json!({ "objects": [{ "class": "order", "id": id, "properties": {} }] }),
        ),
        ("/v1/batch/objects", json!({ "objects": [{ "class": "Order", "properties": {} }] })),
        (
            "/v1/batch/objects",
            json!({ "objects": [{ "class": "Order", "id": id, "properties": { "id": 1 } }] }),
        ),
    ] {
        let checked = std::panic::catch_unwind(|| check("POST", path, &body));
        assert!(checked.is_err(), "{body}");
    }
}
