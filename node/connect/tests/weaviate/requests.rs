//! Every request is one that Weaviate's interface knows: a schema of those that a sink sends says which.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value as Json, json};

/// One for each request of the schema.
static REQUESTS: LazyLock<Vec<Validator>> = LazyLock::new(|| {
    let schema: Json = serde_json::from_str(include_str!("requests.json")).expect("JSON");
    let of = |request: &Json| {
        let mut request = request.clone();
        request["$defs"] = schema["$defs"].clone();
        jsonschema::validator_for(&request).expect("a schema")
    };
    schema["oneOf"].as_array().expect("requests").iter().map(of).collect()
});

/// What is wrong with a request.
pub(super) fn check(method: &str, path: &str, query: &str, body: &Json) -> Result<(), String> {
    let request = json!({ "method": method, "path": path, "query": query, "body": body });
    let mut wrong = "no request of this kind is known".to_owned();
    for validator in REQUESTS.iter() {
        let errors: Vec<_> = validator.iter_errors(&request).collect();
        if errors.is_empty() {
            return Ok(());
        }
        let is_another = errors
            .iter()
            .any(|error| ["/method", "/path"].contains(&error.instance_path().as_str()));
        if !is_another {
            let errors = errors.iter().map(|error| format!("{}: {error}", error.instance_path()));
            wrong = errors.collect::<Vec<_>>().join("; ");
        }
    }
    Err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_that_weaviate_would_refuse_are_found() {
        let id = "2ed6657d-e927-568b-95e1-2665a8aea6a2";
        let to = format!("weaviate://localhost/Customer/{id}");
        let from = format!("weaviate://localhost/Order/{id}/hasCustomer");
        // The order of the interface's own description.
        let other = format!("weaviate://localhost/objects/{id}/Order/hasCustomer");
        let edges = "/v1/batch/references";
        check("POST", edges, "", &json!([{ "from": from, "to": to }])).unwrap();
        check("DELETE", &format!("/v1/objects/Order/{id}"), "", &Json::Null).unwrap();
        let objects = "/v1/batch/objects";
        let object = |class: &str, more: Json| {
            let mut object = json!({ "class": class, "properties": {} });
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "objects": [object] })
        };
        check("POST", objects, "", &object("Order", json!({ "id": id }))).unwrap();
        for (method, uri, body, part) in [
            ("POST", edges, json!([{ "from": other, "to": to }]), "/body/0/from: "),
            ("POST", edges, json!([]), "/body: "),
            (
                "POST",
                "/v1/batch/references?consistency=ALL",
                json!([{ "from": from, "to": to }]),
                "/query: ",
            ),
            ("PUT", edges, json!([{ "from": from, "to": to }]), "no request of this kind"),
            ("POST", objects, object("order", json!({ "id": id })), "/body/objects/0/class: "),
            ("POST", objects, object("Order", json!({})), "\"id\" is a required property"),
            (
                "POST",
                objects,
                object("Order", json!({ "id": id, "properties": { "id": 1 } })),
                "properties",
            ),
            (
                "POST",
                objects,
                object("Order", json!({ "id": id, "properties": { "a": null } })),
                "properties/a: ",
            ),
            ("GET", "/v1/schema/Order", json!({}), "/body: "),
            ("GET", "/v1/objects/Order/7", Json::Null, "no request of this kind"),
        ] {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let wrong = check(method, path, query, &body).unwrap_err();
            assert!(wrong.contains(part), "{method} {uri} {body}: {wrong}");
        }
    }
}
