//! The source that a configuration describes: lists over HTTP, taken apart by jq.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::config::{DeletedConfig, PageConfig, RequestConfig, SourceConfig};
use super::paging::{PagingStep, with_param};
use super::since::{BadSince, Since};
use super::{Ask, DeletedPage, Object, RefusedItem, Source, SourcePage};
use crate::http::{Answer, Method, NotUsable, Request, Service};
use crate::jobs::fault::{Class, Fault, excerpt};
use crate::jobs::jq::{BadFilter, Filter, JqFault};
use crate::jobs::schedule::{BadSchedule, zone_of};
use crate::jobs::secret::{self, Redactor};
use crate::jobs::template::{BadTemplate, Template};

/// Why a source cannot work as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BadSource {
    /// Something that is written in jq.
    #[error("{key}: {source}")]
    Jq {
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        source: BadFilter,
    },
    /// An address, a header or a body.
    #[error("{key}: {source}")]
    Template {
        /// Where it stands.
        key: String,
        /// What is wrong with it.
        source: BadTemplate,
    },
    /// A place in an address that nothing fills.
    #[error("{key} has a place {{{name}}}: expected {{since}} alone")]
    Place {
        /// Where it stands.
        key: String,
        /// The place.
        name: String,
    },
    /// How moments are written.
    #[error(transparent)]
    Since(#[from] BadSince),
    /// The schedule or its zone.
    #[error(transparent)]
    Schedule(#[from] BadSchedule),
    /// Nothing is asked for.
    #[error("it has no request: add [source.request] with url, items and id")]
    NoRequest,
    /// The way of asking.
    #[error("request.method is {0:?}: expected GET, or POST with a body")]
    Method(String),
    /// The service.
    #[error(transparent)]
    Service(#[from] NotUsable),
}

/// Lists of one provider.
pub struct HttpSource {
    service: Service,
    lists: Lists,
}

/// What is asked for, and what is taken out of the answers.
struct Lists {
    since: Since,
    objects: List,
    items: Filter,
    id: Filter,
    updated_at: Option<Filter>,
    fields: Vec<(String, Filter)>,
    deleted: Option<(List, Filter)>,
}

/// One list: how it is asked for, page by page.
struct List {
    method: Method,
    url: Template,
    headers: Vec<(String, Template)>,
    /// JSON, in which `{since}` is replaced.
    body: Option<String>,
    page: Option<PageConfig>,
    /// Where the next page is, of lists whose answers say it.
    next: Option<Filter>,
}

impl HttpSource {
    /// Makes the source that is configured. `folder`: where its service keeps what must survive a restart.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &SourceConfig, folder: &Path) -> Result<Self, BadSource> {
        let service = Service::new(&config.connector(), &config.service(), folder)?;
        let lists = Lists::new(config, Some(service.redactor()))?;
        Ok(Self { service, lists })
    }

    /// Whether a source could be made, wherever its secrets are.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn check(config: &SourceConfig) -> Result<(), BadSource> {
        Lists::new(config, None).map(drop)
    }
}

impl Lists {
    /// `secrets`: who is to know those that are read; `None`: none are read.
    fn new(config: &SourceConfig, secrets: Option<&Redactor>) -> Result<Self, BadSource> {
        let Some(request) = &config.request else { return Err(BadSource::NoRequest) };
        let RequestConfig { url, method, headers, body, since, items, id, updated_at, page } =
            request;
        let method = match (method.as_str(), body) {
            ("GET", None) => Method::GET,
            ("POST", Some(_)) => Method::POST,
            _ => return Err(BadSource::Method(method.clone())),
        };
        let template = |key: String, text: &str| placed(key, text, secrets);
        let named = |headers: &std::collections::BTreeMap<String, String>| {
            headers
                .iter()
                .map(|(name, text)| Ok((name.clone(), template(format!("headers.{name}"), text)?)))
                .collect::<Result<Vec<_>, BadSource>>()
        };
        let objects = List {
            method,
            url: template("request.url".to_owned(), url)?,
            headers: named(headers)?,
            body: body
                .as_deref()
                .map(|body| completed("request.body", body, secrets))
                .transpose()?,
            page: page.clone(),
            next: next_of("request.page.next", page.as_ref())?,
        };
        let deleted = match &config.deleted {
            None => None,
            Some(DeletedConfig { url, headers: own, ids, page }) => {
                let list = List {
                    method: Method::GET,
                    url: template("deleted.url".to_owned(), url)?,
                    headers: named(own.as_ref().unwrap_or(headers))?,
                    body: None,
                    page: page.clone(),
                    next: next_of("deleted.page.next", page.as_ref())?,
                };
                Some((list, compiled("deleted.ids", ids)?))
            }
        };
        let fields = config.fields.iter();
        let fields = fields
            .map(|(name, text)| Ok((name.clone(), compiled(&format!("fields.{name}"), text)?)));
        Ok(Self {
            since: Since::new(since, zone_of(config.zone.as_deref())?)?,
            objects,
            items: compiled("request.items", items)?,
            id: compiled("request.id", id)?,
            updated_at: updated_at
                .as_deref()
                .map(|text| compiled("request.updated_at", text))
                .transpose()?,
            fields: fields.collect::<Result<_, BadSource>>()?,
            deleted,
        })
    }

    /// The objects among the items of a page.
    async fn taken(&self, items: Vec<String>) -> (Vec<Object>, Vec<RefusedItem>) {
        let ids = self.id.run_texts(items.clone()).await;
        let updated = match &self.updated_at {
            Some(filter) => filter.run_texts(items.clone()).await,
            None => items.iter().map(|_| Ok(vec!["null".to_owned()])).collect(),
        };
        let (mut objects, mut refused) = (Vec::with_capacity(items.len()), Vec::new());
        for ((data, id), updated_at) in items.into_iter().zip(ids).zip(updated) {
            match self.object(data, id, updated_at) {
                Ok(object) => objects.push(object),
                Err(item) => refused.push(item),
            }
        }
        for (name, filter) in &self.fields {
            let input = |object: &Object| {
                let id = Value::from(object.id.as_str());
                format!("{{\"external_id\":{id},\"data\":{}}}", object.data)
            };
            let values = filter.run_texts(objects.iter().map(input).collect()).await;
            let mut kept = Vec::with_capacity(objects.len());
            for (mut object, outputs) in objects.into_iter().zip(values) {
                match outputs.and_then(|outputs| filter.one(outputs)).map(|output| value(&output)) {
                    Ok(value) => {
                        object.fields.insert(name.clone(), value);
                        kept.push(object);
                    }
                    Err(fault) => refused.push(RefusedItem {
                        id: Some(object.id),
                        what: format!("field {name}: {fault}"),
                    }),
                }
            }
            objects = kept;
        }
        (objects, refused)
    }

    fn object(
        &self,
        data: String,
        id: Result<Vec<String>, JqFault>,
        updated_at: Result<Vec<String>, JqFault>,
    ) -> Result<Object, RefusedItem> {
        let nameless =
            |what: String| RefusedItem { id: None, what: format!("{what}: {}", excerpt(&data)) };
        let id = id
            .and_then(|outputs| self.id.one(outputs))
            .map_err(|fault| nameless(fault.to_string()))?;
        let id = match value(&id) {
            Value::String(id) => id,
            // As the provider wrote it.
            Value::Number(_) => id,
            other => {
                return Err(nameless(format!(
                    "its id is {}: expected a text or a number",
                    excerpt(&other.to_string())
                )));
            }
        };
        branchline_node::records::check_record_id(&id)
            .map_err(|error| nameless(error.to_string()))?;
        let named = |what: String| RefusedItem { id: Some(id.clone()), what };
        let updated_at = match &self.updated_at {
            None => None,
            Some(filter) => match updated_at.and_then(|outputs| filter.one(outputs)) {
                Err(fault) => return Err(named(fault.to_string())),
                Ok(output) => match value(&output) {
                    Value::Null => None,
                    Value::String(text) => Some(text),
                    _ => Some(output),
                },
            },
        };
        Ok(Object { id, data, updated_at, fields: Map::new() })
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn page(&mut self, ask: &Ask) -> Result<SourcePage, Fault> {
        let answer = self.lists.objects.ask(&self.service, &self.lists.since, ask).await?;
        let items = outputs(&self.lists.items, &answer).await?;
        let next = self.lists.objects.next(ask, &answer, items.len()).await?;
        let provider_time = answer.date();
        let (objects, refused) = self.lists.taken(items).await;
        Ok(SourcePage { objects, refused, next, provider_time })
    }

    async fn deleted(&mut self, ask: &Ask) -> Result<DeletedPage, Fault> {
        let Some((list, ids)) = &self.lists.deleted else { return Ok(DeletedPage::default()) };
        let answer = list.ask(&self.service, &self.lists.since, ask).await?;
        let found = outputs(ids, &answer).await?;
        let next = list.next(ask, &answer, found.len()).await?;
        let id = |output: String| match value(&output) {
            Value::String(id) => Ok(id),
            Value::Number(_) => Ok(output),
            other => {
                let found = excerpt(&other.to_string());
                Err(answer.fault(
                    Class::Permanent,
                    format!("deleted.ids gave {found}: expected texts and numbers"),
                ))
            }
        };
        Ok(DeletedPage { ids: found.into_iter().map(id).collect::<Result<_, _>>()?, next })
    }
}

impl List {
    async fn ask(&self, service: &Service, since: &Since, ask: &Ask) -> Result<Answer, Fault> {
        let moment = since.write(ask.since);
        let value = |name: &str| (name == "since").then(|| moment.clone());
        let bad = |error: String| Fault::unsent(Class::Permanent, error);
        let mut url = self.url.fill_url(value).map_err(|error| bad(error.to_string()))?;
        let place = ask.place.as_deref();
        match (&self.page, place) {
            (Some(PageConfig::Link), Some(next))
            | (Some(PageConfig::Cursor { param: None, .. }), Some(next)) => {
                if !crate::http::same_origin(&url, next) {
                    return Err(bad(format!(
                        "the next page is at {}, on another host",
                        excerpt(next)
                    )));
                }
                next.clone_into(&mut url);
            }
            (Some(PageConfig::Cursor { param: Some(param), .. }), Some(cursor)) => {
                url = with_param(&url, param, cursor).map_err(|error| bad(error.to_string()))?;
            }
            (Some(PageConfig::Number { param, .. } | PageConfig::Offset { param, .. }), _) => {
                let at = self.step(place).map(PagingStep::at).unwrap_or_default();
                url = with_param(&url, param, &at.to_string())
                    .map_err(|error| bad(error.to_string()))?;
            }
            (Some(PageConfig::Cursor { .. } | PageConfig::Link), None) | (None, _) => {}
        }
        let headers = self.headers.iter().map(|(name, text)| Ok((name.clone(), text.fill(value)?)));
        let headers = headers.collect::<Result<_, crate::jobs::template::MissingName>>();
        let headers = headers.map_err(|error| bad(error.to_string()))?;
        let body = self.body.as_ref().map(|body| body.replace("{since}", &moment));
        let method = self.method.clone();
        service.send(Request { method, url, headers, body }).await
    }

    /// The place of the page after this one.
    async fn next(
        &self,
        ask: &Ask,
        answer: &Answer,
        items: usize,
    ) -> Result<Option<String>, Fault> {
        match (&self.page, &self.next) {
            (Some(PageConfig::Cursor { .. }), Some(filter)) => {
                let next = filter.one(outputs(filter, answer).await?);
                let next = next.map_err(|fault| of_answer(answer, &fault))?;
                match value(&next) {
                    Value::Null | Value::Bool(false) => Ok(None),
                    Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
                    _ => Ok(Some(next)),
                }
            }
            (Some(PageConfig::Link), _) => answer.next_link(),
            (Some(PageConfig::Number { reread, .. }), _) => {
                let step = self.step(ask.place.as_deref());
                Ok(step.and_then(|step| step.next(items, 1, *reread)).map(|step| step.to_string()))
            }
            (Some(PageConfig::Offset { reread, .. }), _) => {
                let step = self.step(ask.place.as_deref());
                let width = items as u64;
                Ok(step
                    .and_then(|step| step.next(items, width, *reread))
                    .map(|step| step.to_string()))
            }
            (Some(PageConfig::Cursor { .. }) | None, _) => Ok(None),
        }
    }

    fn step(&self, place: Option<&str>) -> Option<PagingStep> {
        match place {
            Some(place) => place.parse().ok(),
            None => self.page.as_ref().and_then(PageConfig::first_step),
        }
    }
}

/// What an expression gives for an answer.
async fn outputs(filter: &Filter, answer: &Answer) -> Result<Vec<String>, Fault> {
    answer.expect_json()?;
    let outputs = filter.run_texts(vec![answer.body.clone()]).await.pop();
    outputs.unwrap_or(Ok(Vec::new())).map_err(|fault| of_answer(answer, &fault))
}

/// An output of jq, which is JSON.
fn value(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_default()
}

fn of_answer(answer: &Answer, fault: &JqFault) -> Fault {
    answer.fault(
        Class::Permanent,
        format!("not what was expected: {fault}; found {}", excerpt(&answer.body)),
    )
}

fn compiled(key: &str, text: &str) -> Result<Filter, BadSource> {
    Filter::compile(text).map_err(|source| BadSource::Jq { key: key.to_owned(), source })
}

fn next_of(key: &str, page: Option<&PageConfig>) -> Result<Option<Filter>, BadSource> {
    match page {
        Some(PageConfig::Cursor { next, .. }) => compiled(key, next).map(Some),
        Some(PageConfig::Number { .. } | PageConfig::Offset { .. } | PageConfig::Link) | None => {
            Ok(None)
        }
    }
}

/// A text with its secrets.
fn completed(key: &str, text: &str, secrets: Option<&Redactor>) -> Result<String, BadSource> {
    let Some(redactor) = secrets else { return Ok(text.to_owned()) };
    secret::complete_with(text, redactor)
        .map_err(|error| BadSource::Template { key: key.to_owned(), source: error.into() })
}

/// A text whose only place is `{since}`.
fn placed(key: String, text: &str, secrets: Option<&Redactor>) -> Result<Template, BadSource> {
    let template = match secrets {
        Some(redactor) => Template::with_secrets(text, redactor),
        None => Template::without_secrets(text),
    };
    let template = match template {
        Ok(template) => template,
        Err(source) => return Err(BadSource::Template { key, source }),
    };
    match template.names().iter().find(|name| **name != "since") {
        Some(name) => Err(BadSource::Place { key, name: (*name).to_owned() }),
        None => Ok(template),
    }
}
