//! The description of the API in OpenAPI 3.1. A route is described where it is handled, and the router is made of these
//! descriptions, so that neither has what the other lacks.

use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, InfoBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::error::ErrorBody;
use super::params::bounds::add_bounds;

const TITLE: &str = "Branchline";
const DESCRIPTION: &str = "The HTTP API of one site, on loopback and on the Unix socket `api.sock` in the data folder, where no token is needed. Errors have one shape, whatever the request.";
/// The name of the one way to be let in.
const TOKEN: &str = "token";

/// The description, made when it is first asked for.
type Document = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

/// Gives the handler the description of what the router is made of.
pub(super) fn document(described: OpenApi) -> Extension<Arc<Document>> {
    // These types are described to serde in full: this does not fail.
    let write = || serde_json::to_vec(&complete(described)).unwrap_or_default().into();
    Extension(Arc::new(LazyLock::new(Box::new(write))))
}

/// This description. Needs no token.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "get_openapi",
    responses(
        (
            status = OK,
            description = "OpenAPI 3.1.",
            body = serde_json::Map<String, serde_json::Value>,
        ),
    ),
    security(()),
)]
pub(crate) async fn openapi(Extension(document): Extension<Arc<Document>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], Bytes::clone(&document))
}

/// The description with what holds for all paths.
fn complete(mut document: OpenApi) -> OpenApi {
    let info = InfoBuilder::new().title(TITLE).version(env!("CARGO_PKG_VERSION"));
    document.info = info.description(Some(DESCRIPTION)).build();
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    let components = document.components.get_or_insert_with(Components::new);
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let token = token.description(Some("What `api.token` in the data folder holds.")).build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for path in document.paths.paths.values_mut() {
        let operations =
            [&mut path.get, &mut path.put, &mut path.post, &mut path.delete, &mut path.patch];
        operations.into_iter().flatten().for_each(add_refusal);
        for operation in [&mut path.put, &mut path.post, &mut path.delete, &mut path.patch] {
            operation.iter_mut().for_each(|operation| add_bounds(operation, false));
        }
        path.get.iter_mut().for_each(|operation| add_bounds(operation, true));
    }
    document
}

/// Every request may be refused.
fn add_refusal(operation: &mut Operation) {
    let content = Content::new(Some(Ref::from_schema_name(ErrorBody::name())));
    let refusal = ResponseBuilder::new()
        .description("The request was not done; the status is that of the code.");
    let refusal = refusal.content("application/json", content).build();
    operation.responses.responses.insert("default".to_owned(), refusal.into());
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_parameter_says_what_it_may_be() {
        let Extension(document) = document(super::super::routes(None).into_openapi());
        let document: Value = serde_json::from_slice(&document).unwrap_or_default();
        let operations =
            document["paths"].as_object().into_iter().flatten().flat_map(|(path, item)| {
                let methods = item.as_object().into_iter().flatten();
                methods.map(move |(method, operation)| (path, method, operation))
            });
        let mut count = 0;
        for (path, method, operation) in operations {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let schema = &parameter["schema"];
                let has = |key: &str| !schema[key].is_null();
                let is_bounded = schema["type"] == "boolean"
                    || has("enum")
                    || has("maxLength")
                    || has("minimum") && has("maximum");
                assert!(is_bounded, "say it in bounds.rs: {method} {path}: {parameter}");
                count += 1;
            }
        }
        assert!(count > 50, "{count} parameters");
    }
}
