//! The description of the API in OpenAPI 3.1. A route is described where it is handled, and the router is made of these
//! descriptions, so that neither has what the other lacks.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, InfoBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::bounds::add_bounds;
use super::error::ErrorBody;

const TITLE: &str = "Branchline";
const DESCRIPTION: &str = "The HTTP API of one site, on loopback and on the Unix socket `api.sock` in the data folder, where no token is needed. Errors have one shape, whatever the request.";
/// The name of the one way to be let in.
const TOKEN: &str = "token";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // These types are described to serde in full: this does not fail.
    serde_json::to_string(&document()).unwrap_or_default()
});

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
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

fn document() -> OpenApi {
    let mut document = super::routes().into_openapi();
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
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap_or_default();
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
