//! What is asked of Weaviate, and how its answers are read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::names::{Uuid, beacon};
use crate::http::{Answer, Method, Request, Service};
use crate::jobs::fault::{Class, Fault, excerpt};
use crate::jobs::template::encoded;

/// A Weaviate server.
pub(super) struct Remote {
    service: Service,
    /// Without a slash at its end, with the version of the interface.
    base: String,
    headers: Vec<(String, String)>,
}

/// An object that is to be there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RemoteObject {
    pub(super) class: String,
    pub(super) id: Uuid,
    pub(super) properties: Map<String, Json>,
}

/// An edge that is to be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: (String, Uuid),
    pub(super) property: String,
    pub(super) to: (String, Uuid),
}

/// What became of one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Confirmed,
    Refused(String),
    /// The answer does not speak of it.
    Unknown,
}

/// A class, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClassThere {
    pub(super) properties: BTreeMap<String, PropertyThere>,
}

/// A property of a class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PropertyThere {
    pub(super) kinds: Vec<String>,
    /// Whether the server itself keeps an edge from being there twice.
    pub(super) is_unique: bool,
}

/// A property that is to be made.
pub(super) enum NewProperty<'a> {
    Plain { name: &'a str, kind: &'a str },
    Edge { name: &'a str, class: &'a str },
}

impl NewProperty<'_> {
    fn json(&self) -> Json {
        match self {
            Self::Plain { name, kind } => json!({ "name": name, "dataType": [kind] }),
            // An edge that is sent twice is there once.
            Self::Edge { name, class } => {
                json!({ "name": name, "dataType": [class], "disableDuplicatedReferences": true })
            }
        }
    }
}

#[derive(Deserialize)]
struct ClassReply {
    #[serde(default)]
    properties: Option<Vec<PropertyReply>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertyReply {
    name: String,
    #[serde(default)]
    data_type: Vec<String>,
    #[serde(default)]
    disable_duplicated_references: Option<bool>,
}

#[derive(Deserialize)]
struct ItemReply {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    result: Option<ResultReply>,
}

#[derive(Deserialize)]
struct ResultReply {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    errors: Option<ErrorsReply>,
}

#[derive(Deserialize)]
struct ErrorsReply {
    #[serde(default)]
    error: Option<Vec<ErrorReply>>,
}

#[derive(Deserialize)]
struct ErrorReply {
    #[serde(default)]
    message: String,
}

impl ItemReply {
    fn fate(&self) -> Fate {
        let Some(result) = &self.result else { return Fate::Confirmed };
        let errors = result.errors.as_ref().and_then(|errors| errors.error.as_ref());
        let messages: Vec<&str> =
            errors.into_iter().flatten().map(|error| error.message.as_str()).collect();
        let is_failed = result.status.as_deref().is_some_and(|status| status != "SUCCESS");
        match (is_failed, messages.is_empty()) {
            (false, true) => Fate::Confirmed,
            (_, false) => Fate::Refused(excerpt(&messages.join("; "))),
            (true, true) => Fate::Refused("it failed, and the server does not say why".to_owned()),
        }
    }
}

impl Remote {
    pub(super) fn new(service: Service, url: &str, headers: Vec<(String, String)>) -> Self {
        let base = url.trim_end_matches('/').trim_end_matches("/v1");
        Self { service, base: format!("{base}/v1"), headers }
    }

    /// A class; `None`: there is none.
    pub(super) async fn class(&self, class: &str) -> Result<Option<ClassThere>, Fault> {
        let answer = match self.ask(Method::GET, &format!("schema/{class}"), None).await {
            Err(fault) if fault.status == Some(404) => return Ok(None),
            answer => answer?,
        };
        let reply: ClassReply = answer.json()?;
        let property = |reply: PropertyReply| {
            let is_unique = reply.disable_duplicated_references == Some(true);
            (reply.name, PropertyThere { kinds: reply.data_type, is_unique })
        };
        let properties = reply.properties.unwrap_or_default().into_iter().map(property).collect();
        Ok(Some(ClassThere { properties }))
    }

    /// Makes a class.
    pub(super) async fn make_class(
        &self,
        class: &str,
        vectorizer: Option<&str>,
        properties: &[NewProperty<'_>],
    ) -> Result<(), Fault> {
        let properties: Vec<Json> = properties.iter().map(NewProperty::json).collect();
        let mut body = json!({ "class": class, "properties": properties });
        if let Some(vectorizer) = vectorizer {
            body["vectorizer"] = json!(vectorizer);
        }
        self.ask(Method::POST, "schema", Some(&body)).await.map(drop)
    }

    /// Adds a property to a class: changing the class itself cannot.
    pub(super) async fn add_property(
        &self,
        class: &str,
        property: &NewProperty<'_>,
    ) -> Result<(), Fault> {
        let path = format!("schema/{class}/properties");
        self.ask(Method::POST, &path, Some(&property.json())).await.map(drop)
    }

    /// Writes objects, over those of the same id. One fate each, in order.
    pub(super) async fn put_objects(&self, objects: &[RemoteObject]) -> Result<Vec<Fate>, Fault> {
        let item = |object: &RemoteObject| json!({ "class": object.class, "id": object.id.to_string(), "properties": object.properties });
        let items: Vec<Json> = objects.iter().map(item).collect();
        let body = json!({ "objects": items });
        let answer = self.ask(Method::POST, "batch/objects", Some(&body)).await?;
        let replies: Vec<ItemReply> = answer.json()?;
        let name = |reply: &ItemReply| reply.id.as_ref().map(|id| id.to_ascii_lowercase());
        let sent = objects.iter().map(|object| object.id.to_string());
        Ok(fates(sent.collect(), replies.iter().map(|reply| (name(reply), reply.fate())).collect()))
    }

    /// Adds edges. One fate each, in order. Where the server does not keep them apart, one that is there is there twice then.
    pub(super) async fn add_edges(&self, edges: &[Edge]) -> Result<Vec<Fate>, Fault> {
        if edges.is_empty() {
            // Weaviate takes an empty list for an error.
            return Ok(Vec::new());
        }
        let ends = |edge: &Edge| {
            let from = format!("{}/{}", beacon(&edge.from.0, edge.from.1), edge.property);
            (from, beacon(&edge.to.0, edge.to.1))
        };
        let sent: Vec<(String, String)> = edges.iter().map(ends).collect();
        let items = sent.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        let answer = self.ask(Method::POST, "batch/references", Some(&Json::Array(items))).await?;
        let replies: Vec<ItemReply> = answer.json()?;
        let name = |reply: &ItemReply| reply.from.clone().zip(reply.to.clone());
        Ok(fates(sent, replies.iter().map(|reply| (name(reply), reply.fate())).collect()))
    }

    /// Makes these the only edges of one property of an object.
    pub(super) async fn replace_edges(
        &self,
        (class, id): (&str, Uuid),
        property: &str,
        to: &[(String, Uuid)],
    ) -> Result<(), Fault> {
        let path = format!("objects/{class}/{id}/references/{property}");
        let items = to.iter().map(|(class, id)| json!({ "beacon": beacon(class, *id) }));
        let body = Json::Array(items.collect());
        self.ask(Method::PUT, &path, Some(&body)).await.map(drop)
    }

    /// Deletes an object, and says whether there was one.
    pub(super) async fn delete(&self, class: &str, id: Uuid) -> Result<bool, Fault> {
        match self.ask(Method::DELETE, &format!("objects/{class}/{id}"), None).await {
            Err(fault) if fault.status == Some(404) => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Answer, Fault> {
        let path: Vec<String> = path.split('/').map(encoded).collect();
        let url = format!("{}/{}", self.base, path.join("/"));
        let body = body.map(Json::to_string);
        let request = Request { method, url, headers: self.headers.clone(), body };
        let answer = self.service.send(request).await;
        answer.map_err(|fault| match (fault.class, fault.status) {
            // Rights are of who asks, not of what is sent.
            (Class::Permanent, Some(403)) => Fault { class: Class::Authentication, ..fault },
            _ => fault,
        })
    }
}

/// What an answer says of each item that was sent: by its place, since one that failed need not be named there. An answer
/// that speaks of others, or of more or fewer, counts for those that it names.
fn fates<N: Ord>(sent: Vec<N>, replies: Vec<(Option<N>, Fate)>) -> Vec<Fate> {
    let is_same =
        |(sent, (name, _)): (&N, &(Option<N>, Fate))| name.as_ref().is_none_or(|name| name == sent);
    if sent.len() == replies.len() && sent.iter().zip(&replies).all(is_same) {
        return replies.into_iter().map(|(_, fate)| fate).collect();
    }
    let named = replies.into_iter().filter_map(|(name, fate)| Some((name?, fate)));
    let by_name: BTreeMap<N, Fate> = named.collect();
    sent.iter().map(|name| by_name.get(name).cloned().unwrap_or(Fate::Unknown)).collect()
}

/// Whether a fault is about what was sent, so that a part of it may be taken.
pub(super) fn is_about_items(fault: &Fault) -> bool {
    fault.class == Class::Permanent || fault.status == Some(500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c23_an_answer_counts_for_the_items_that_it_speaks_of() {
        let refused = || Fate::Refused("no".to_owned());
        for (replies, expected) in [
            // One that failed is not named.
            (
                vec![(Some(1), Fate::Confirmed), (None, refused()), (Some(3), Fate::Confirmed)],
                [Fate::Confirmed, refused(), Fate::Confirmed],
            ),
            // Another order.
            (
                vec![(Some(3), Fate::Confirmed), (Some(2), refused()), (Some(1), Fate::Confirmed)],
                [Fate::Confirmed, refused(), Fate::Confirmed],
            ),
            // Of one nothing is said, and which one was refused cannot be known.
            (
                vec![(Some(1), Fate::Confirmed), (None, refused())],
                [Fate::Confirmed, Fate::Unknown, Fate::Unknown],
            ),
            (Vec::new(), [Fate::Unknown, Fate::Unknown, Fate::Unknown]),
        ] {
            assert_eq!(fates(vec![1, 2, 3], replies), expected);
        }
    }
}
