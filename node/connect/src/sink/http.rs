//! `kind = "http"`: a service that is described by URLs and expressions.

use std::path::Path;

use async_trait::async_trait;
use reqwest::header::{ETAG, IF_MATCH};
use serde_json::{Map, Value as Json};

use super::config::{CreateConfig, DeleteConfig, SinkConfig};
use super::item::{Abilities, Item, RemoteId, Sink, Stored};
use super::push::PRECONDITION_FAILED;
use crate::http::{Answer, Method, NotUsable, Request, Service};
use crate::jobs::fault::{Class, Done, Fault};
use crate::jobs::jq::{BadFilter, Filter};
use crate::jobs::secret::Redactor;
use crate::jobs::template::{BadTemplate, Template};

/// The header of an item's key.
const KEY_HEADER: &str = "Idempotency-Key";
/// The header of the number of the takeover.
const TERM_HEADER: &str = "Branchline-Term";

/// Why a service cannot be asked as the configuration says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMade {
    /// The service as such.
    #[error(transparent)]
    Service(#[from] NotUsable),
    /// A URL or header.
    #[error("{place}: {source}")]
    Template {
        /// Where it stands.
        place: &'static str,
        /// What is wrong with it.
        source: BadTemplate,
    },
    /// An expression.
    #[error("{place}: {source}")]
    Filter {
        /// Where it stands.
        place: &'static str,
        /// What is wrong with it.
        source: BadFilter,
    },
    /// A method.
    #[error("{place}: the method is {found:?}, expected one of {expected}")]
    Method {
        /// Where it stands.
        place: &'static str,
        /// What was found.
        found: String,
        /// What is possible.
        expected: &'static str,
    },
    /// A body.
    #[error("{place}: the body is not JSON: {source}")]
    Body {
        /// Where it stands.
        place: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something is missing.
    #[error("{0}")]
    Missing(String),
}

/// A service that is described by URLs and expressions.
pub(crate) struct HttpSink {
    service: Service,
    create: Call,
    remote_id: Option<Filter>,
    lookup: Option<HttpLookup>,
    update: Option<Call>,
    delete: Option<Call>,
    initialise: Option<Call>,
    read: Option<(Call, Option<Filter>)>,
    /// Whether versions of objects are minded.
    if_match: bool,
}

/// A request as it is configured.
struct Call {
    method: Method,
    url: Template,
    headers: Vec<(String, Template)>,
    /// JSON in place of the representation.
    body: Option<Json>,
}

struct HttpLookup {
    call: Call,
    id: Option<Filter>,
}

/// Reads the parts of a configuration.
struct AnswerReader<'a> {
    config: &'a SinkConfig,
    redactor: &'a Redactor,
}

impl AnswerReader<'_> {
    fn call(
        &self,
        place: &'static str,
        (method, methods): (&str, &'static str),
        url: &str,
        headers: &std::collections::BTreeMap<String, String>,
    ) -> Result<Call, NotMade> {
        let is_known = methods.split(", ").any(|known| known == method);
        let Some(method) = Method::from_bytes(method.as_bytes()).ok().filter(|_| is_known) else {
            return Err(NotMade::Method { place, found: method.to_owned(), expected: methods });
        };
        let template = |text: &str| {
            Template::with_secrets(text, self.redactor)
                .map_err(|source| NotMade::Template { place, source })
        };
        let all = self.config.headers.iter().chain(headers);
        let headers = all.map(|(name, text)| Ok((name.clone(), template(text)?)));
        let headers = headers.collect::<Result<_, NotMade>>()?;
        Ok(Call { method, url: template(url)?, headers, body: None })
    }

    fn delete(&self, delete: &DeleteConfig) -> Result<Call, NotMade> {
        let place = "[sink.delete]";
        let methods = "DELETE, PATCH, PUT, POST";
        let call = self.call(place, (&delete.method, methods), &delete.url, &delete.headers)?;
        let body = delete.body.as_deref().map(serde_json::from_str).transpose();
        let body = body.map_err(|source| NotMade::Body { place, source })?;
        if body.is_none() && delete.method != "DELETE" {
            let what = format!(
                "{place}: {} without a body would change nothing: say for example body = '{{\"archived\": true}}'",
                delete.method
            );
            return Err(NotMade::Missing(what));
        }
        Ok(Call { body, ..call })
    }

    fn lookup(&self, create: &CreateConfig) -> Result<Option<HttpLookup>, NotMade> {
        let place = "[sink.create] lookup";
        let Some(url) = &create.lookup else {
            return match &create.lookup_id {
                None => Ok(None),
                Some(_) => Err(NotMade::Missing(
                    "[sink.create]: lookup_id is given without lookup: say where an object is looked for".to_owned(),
                )),
            };
        };
        let call = self.call(place, ("GET", "GET"), url, &create.headers)?;
        let id = create.lookup_id.as_ref().or(create.remote_id.as_ref());
        let id = id.map(|text| filter("[sink.create] lookup_id", text)).transpose()?;
        if id.is_none() {
            let what =
                "[sink.create]: lookup has no lookup_id: say where the answer has the object's id";
            return Err(NotMade::Missing(what.to_owned()));
        }
        Ok(Some(HttpLookup { call, id }))
    }
}

fn filter(place: &'static str, text: &str) -> Result<Filter, NotMade> {
    Filter::compile(text).map_err(|source| NotMade::Filter { place, source })
}

impl HttpSink {
    /// A service as a configuration describes it. `folder`: where it keeps tokens.
    ///
    /// # Errors
    /// [`NotMade`] says where something is missing or cannot be.
    pub(crate) fn new(config: &SinkConfig, folder: &Path) -> Result<Self, NotMade> {
        let service = Service::new(&format!("sink {}", config.name), &config.service(), folder)?;
        let reader = AnswerReader { config, redactor: service.redactor() };
        let Some(create) = &config.create else {
            let what = "it has no [sink.create]: say how an object is created";
            return Err(NotMade::Missing(what.to_owned()));
        };
        let place = "[sink.create]";
        let call =
            reader.call(place, (&create.method, "POST, PUT"), &create.url, &create.headers)?;
        let remote_id = create.remote_id.as_deref();
        let remote_id =
            remote_id.map(|text| filter("[sink.create] remote_id", text)).transpose()?;
        if remote_id.is_none() && create.method != "PUT" {
            let what = "[sink.create]: remote_id is missing: say where the answer has the object's id (jq)";
            return Err(NotMade::Missing(what.to_owned()));
        }
        let update = config.update.as_ref().map(|update| {
            let method = (update.method.as_str(), "PUT, PATCH, POST");
            reader.call("[sink.update]", method, &update.url, &update.headers)
        });
        let initialise = config
            .initialise
            .as_ref()
            .map(|get| reader.call("[sink.initialise]", ("GET", "GET"), &get.url, &get.headers));
        let read = config.read.as_ref().map(|read| {
            let call = reader.call("[sink.read]", ("GET", "GET"), &read.url, &read.headers)?;
            let object = read.object.as_ref().map(|text| filter("[sink.read] object", text));
            Ok::<_, NotMade>((call, object.transpose()?))
        });
        Ok(Self {
            create: call,
            remote_id,
            lookup: reader.lookup(create)?,
            update: update.transpose()?,
            delete: config.delete.as_ref().map(|delete| reader.delete(delete)).transpose()?,
            initialise: initialise.transpose()?,
            read: read.transpose()?,
            if_match: config.update.as_ref().is_some_and(|update| update.if_match),
            service,
        })
    }

    async fn send(
        &self,
        call: &Call,
        values: &Json,
        id: Option<&RemoteId>,
        item: Option<&Item>,
    ) -> Result<Answer, Fault> {
        let value = |name: &str| match (name, id) {
            ("remote_id", Some(RemoteId(id))) => Some(id.clone()),
            _ => text_at(values, name),
        };
        let missing = |error: crate::jobs::template::MissingName| {
            Fault::unsent(Class::Permanent, format!("{error} in what is sent"))
        };
        let url = call.url.fill_url(value).map_err(missing)?;
        let mut headers = Vec::with_capacity(call.headers.len() + 2);
        for (name, template) in &call.headers {
            headers.push((name.clone(), template.fill(value).map_err(missing)?));
        }
        let mut body = None;
        if let Some(item) = item {
            headers.push((KEY_HEADER.to_owned(), item.key.clone()));
            headers.push((TERM_HEADER.to_owned(), item.fence.to_string()));
            let etag = item.etag.iter().map(|etag| (IF_MATCH.to_string(), etag.clone()));
            headers.extend(etag);
            body = match (&call.body, &call.method) {
                (Some(body), _) => Some(body.to_string()),
                (None, method) if *method == Method::DELETE => None,
                (None, _) => Some(item.representation.to_string()),
            };
        }
        self.service.send(Request { method: call.method.clone(), url, headers, body }).await
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn create(&self, item: &Item) -> Result<Stored, Fault> {
        let answer = self.send(&self.create, &item.representation, None, Some(item)).await?;
        let id = match &self.remote_id {
            None => RemoteId(item.group.clone()),
            Some(filter) => id_in(&answer, filter).await?.ok_or_else(|| {
                let what = format!("it has no id by {}", filter.text());
                answer.fault(Class::Permanent, what)
            })?,
        };
        Ok(Stored { id, etag: self.etag(&answer) })
    }

    async fn lookup(&self, item: &Item) -> Result<Option<RemoteId>, Fault> {
        let Some(HttpLookup { call, id: Some(id) }) = &self.lookup else { return Ok(None) };
        match self.send(call, &item.representation, None, None).await {
            Ok(answer) => id_in(&answer, id).await,
            Err(fault) if is_gone(&fault) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn update(&self, id: &RemoteId, item: &Item) -> Result<Stored, Fault> {
        let Some(call) = &self.update else { return Ok(id.clone().into()) };
        let sent = self.send(call, &item.representation, Some(id), Some(item)).await;
        let answer = sent.map_err(|fault| match (fault.status, &item.etag) {
            (Some(PRECONDITION_FAILED), Some(_)) => {
                let what = "somebody has changed the object at the service since it was sent, and `requeue` writes over that";
                Fault { message: format!("{what}: {}", fault.message), ..fault }
            }
            _ => fault,
        })?;
        // A page for people is no confirmation.
        answer.expect_json()?;
        Ok(Stored { id: id.clone(), etag: self.etag(&answer) })
    }

    async fn delete(&self, id: &RemoteId, item: &Item) -> Result<(), Fault> {
        let Some(call) = &self.delete else { return Ok(()) };
        match self.send(call, &item.representation, Some(id), Some(item)).await {
            Err(fault) if is_gone(&fault) => Ok(()),
            answer => answer?.expect_json(),
        }
    }

    async fn initial(&self, values: &Map<String, Json>) -> Result<Option<Json>, Fault> {
        let Some(call) = &self.initialise else { return Ok(None) };
        let answer = self.send(call, &Json::Object(values.clone()), None, None).await?;
        answer.json().map(Some)
    }

    async fn read(&self, id: &RemoteId, item: &Item) -> Result<Option<Json>, Fault> {
        let Some((call, object)) = &self.read else { return Ok(None) };
        let answer = match self.send(call, &item.representation, Some(id), None).await {
            Err(fault) if is_gone(&fault) => return Ok(None),
            answer => answer?,
        };
        let Some(object) = object else { return answer.json().map(Some) };
        let outputs = object.run(answer.json()?).await;
        let outputs = outputs.map_err(|error| answer.fault(Class::Permanent, error.to_string()))?;
        // Where an empty list means that there is none.
        Ok(outputs.into_iter().next().filter(|object| !object.is_null()))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            read: self.read.is_some(),
            lookup: self.lookup.is_some(),
            repeat: self.create.method == Method::PUT,
            update: self.update.is_some(),
            delete: self.delete.is_some(),
            initial: self.initialise.is_some(),
        }
    }
}

impl HttpSink {
    /// The version of an object by an answer, where it is minded and says that two of the same version are the same.
    fn etag(&self, answer: &Answer) -> Option<String> {
        let etag = answer.headers.get(ETAG).filter(|_| self.if_match)?.to_str().ok()?;
        (!etag.starts_with("W/")).then(|| etag.to_owned())
    }
}

fn is_gone(fault: &Fault) -> bool {
    matches!(fault.status, Some(404 | 410))
}

/// The object's id in an answer. One without a body has its headers: `.headers.location`.
async fn id_in(answer: &Answer, filter: &Filter) -> Result<Option<RemoteId>, Fault> {
    let input = if answer.body.trim().is_empty() {
        let header =
            |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                let value = value.to_str().ok()?;
                Some((name.as_str().to_owned(), Json::String(value.to_owned())))
            };
        let headers: Map<String, Json> = answer.headers.iter().filter_map(header).collect();
        serde_json::json!({ "headers": headers })
    } else {
        answer.json()?
    };
    let outputs = filter.run(input).await;
    let outputs = outputs.map_err(|error| Fault {
        done: Done::Unknown,
        ..answer.fault(Class::Permanent, error.to_string())
    })?;
    let id = match outputs.into_iter().next() {
        Some(Json::String(text)) if !text.is_empty() => Some(RemoteId(text)),
        Some(Json::Number(number)) => Some(RemoteId(number.to_string())),
        Some(_) | None => None,
    };
    Ok(id)
}

/// What stands at a path, as text.
fn text_at(values: &Json, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(values, |value, name| match value {
        Json::Array(all) => all.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    });
    match found? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}
