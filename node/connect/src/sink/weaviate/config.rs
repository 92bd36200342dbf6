//! `[[sink.object]]` and `[[sink.edge]]` of a sink of `kind = "weaviate"`.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kinds::Kind;
use crate::jobs::duration;
use crate::jobs::jq::Filter;

/// Objects and edges of a batch where nothing is configured.
pub const BATCH: usize = 100;
/// The most that can be configured: beyond, servers take longer than their time-outs.
pub const BATCH_MAX: usize = 1_000;
/// Longest pause between batches.
const DELAY_MAX: Duration = Duration::from_secs(3_600);
/// Collections and edges of one sink.
const PARTS_MAX: usize = 64;

/// What of a `[[sink]]` is about Weaviate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeaviateConfig {
    /// Where it is: `http://weaviate:8080`.
    pub url: String,
    /// Objects, or edges, of one request.
    pub batch: usize,
    /// Pause between two requests.
    #[serde(with = "duration::written")]
    pub delay: Duration,
    /// Collections of which each record is an object.
    pub objects: Vec<ObjectConfig>,
    /// Fields that name another record.
    pub edges: Vec<EdgeConfig>,
}

/// A collection of which each record is an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectConfig {
    /// The collection.
    pub collection: String,
    /// The class of its objects, with a capital: `Order`.
    pub class: String,
    /// jq that makes an object's properties of the record: of its fields and `id`.
    pub translate: String,
    /// The types of properties, where what is found in the first objects does not say it: `{ placed_at = "date" }`.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What makes vectors of objects, for a class that is created here. Default: the server's own.
    #[serde(default)]
    pub vectorizer: Option<String>,
}

/// A field that names another record: an edge from object to object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// The collection whose records have the field.
    pub collection: String,
    /// The property that is the edge: `hasCustomer`.
    pub property: String,
    /// The field that holds the other record's id, or a list of ids: `customer_id`.
    pub field: String,
    /// The other record's collection.
    pub to: String,
}

impl EdgeConfig {
    /// What the edge is called in this site's state: by where it begins and its property.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.collection, self.property)
    }

    /// What is before the first end's id, and between the ids, in what people call one of these edges:
    /// `orders/7:hasCustomer:customers/12`.
    #[must_use]
    pub fn parts(&self) -> (String, String) {
        (format!("{}/", self.collection), format!(":{}:{}/", self.property, self.to))
    }
}

impl WeaviateConfig {
    /// The objects of a collection.
    #[must_use]
    pub fn object(&self, collection: &str) -> Option<&ObjectConfig> {
        self.objects.iter().find(|object| object.collection == collection)
    }

    /// The edges that begin at a collection's objects.
    pub fn edges_from<'a>(&'a self, collection: &'a str) -> impl Iterator<Item = &'a EdgeConfig> {
        self.edges.iter().filter(move |edge| edge.collection == collection)
    }

    /// What is wrong with it.
    ///
    /// # Errors
    /// A text that says what was found and what was expected.
    pub fn check(&self) -> Result<(), String> {
        if !self.url.starts_with("https://")
            && !self.url.starts_with("http://")
            && !self.url.starts_with("${")
        {
            return Err("url is missing or no URL: expected https://… or http://…".to_owned());
        }
        if !(1..=BATCH_MAX).contains(&self.batch) {
            return Err(format!("batch is {}: expected 1 to {BATCH_MAX}", self.batch));
        }
        if self.delay > DELAY_MAX {
            return Err(format!("delay is {}: expected at most 1h", duration::text(self.delay)));
        }
        if self.objects.is_empty() {
            return Err(
                "it has no [[sink.object]]: say of which collection each record is an object"
                    .to_owned(),
            );
        }
        if self.objects.len() > PARTS_MAX || self.edges.len() > PARTS_MAX {
            return Err(format!("it has more than {PARTS_MAX} [[sink.object]] or [[sink.edge]]"));
        }
        let mut seen = BTreeSet::new();
        for object in &self.objects {
            let place = format!("[[sink.object]] {}", object.collection);
            object.check().map_err(|what| format!("{place}: {what}"))?;
            if !seen.insert(&object.collection) || !seen.insert(&object.class) {
                return Err(format!("{place}: collection or class is there twice"));
            }
        }
        let mut names = BTreeSet::new();
        for edge in &self.edges {
            let place = format!("[[sink.edge]] {}", edge.name());
            self.check_edge(edge).map_err(|what| format!("{place}: {what}"))?;
            if !names.insert(edge.name()) {
                return Err(format!("{place} is there twice"));
            }
        }
        Ok(())
    }

    fn check_edge(&self, edge: &EdgeConfig) -> Result<(), String> {
        for collection in [&edge.collection, &edge.to] {
            if self.object(collection).is_none() {
                return Err(format!("there is no [[sink.object]] of {collection:?}"));
            }
        }
        if !is_property(&edge.property) {
            return Err(bad_property(&edge.property));
        }
        let is_taken = self
            .object(&edge.collection)
            .is_some_and(|object| object.properties.contains_key(&edge.property));
        if edge.field.is_empty() || is_taken {
            Err("field is empty, or its property is one of the object's properties as well"
                .to_owned())
        } else {
            Ok(())
        }
    }
}

impl ObjectConfig {
    fn check(&self) -> Result<(), String> {
        if self.collection.is_empty() {
            return Err("collection is empty".to_owned());
        }
        let is_capital = self.class.starts_with(|first: char| first.is_ascii_uppercase());
        if !is_capital
            || !self.class.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(format!(
                "class is {:?}: expected letters, digits and _, the first a capital, as in Order",
                self.class
            ));
        }
        Filter::compile(&self.translate).map_err(|error| format!("translate: {error}"))?;
        for (name, kind) in &self.properties {
            if !is_property(name) {
                return Err(bad_property(name));
            }
            Kind::parse(kind).map_err(|what| format!("properties: {name}: {what}"))?;
        }
        Ok(())
    }
}

/// Whether Weaviate takes a property's name as it is: it makes the first letter small by itself, and then nobody finds it.
pub(super) fn is_property(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_kept = matches!(name, "id" | "_id" | "_additional");
    name.bytes().next().is_some_and(first) && name.bytes().all(is_plain) && !is_kept
}

pub(super) fn bad_property(name: &str) -> String {
    format!(
        "the property {name:?} cannot be: expected letters, digits and _, the first a small one, and neither id, _id nor \
         _additional, which Weaviate keeps for itself"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// Orders, customers, and which order is whose.
    pub(crate) fn example(url: &str) -> WeaviateConfig {
        let object = |collection: &str, class: &str, translate: &str| ObjectConfig {
            collection: collection.to_owned(),
            class: class.to_owned(),
            translate: translate.to_owned(),
            properties: BTreeMap::new(),
            vectorizer: None,
        };
        WeaviateConfig {
            url: url.to_owned(),
            batch: BATCH,
            delay: Duration::ZERO,
            objects: vec![
                object("customers", "Customer", "{ name }"),
                object("orders", "Order", "{ ref, price, record: .id }"),
            ],
            edges: vec![EdgeConfig {
                collection: "orders".to_owned(),
                property: "hasCustomer".to_owned(),
                field: "customer_id".to_owned(),
                to: "customers".to_owned(),
            }],
        }
    }

    #[test]
    fn the_example_is_a_sink() {
        #[derive(Deserialize)]
        struct Whole {
            sink: Vec<crate::sink::config::SinkConfig>,
        }
        let whole: Whole = toml::from_str(include_str!("example.toml")).unwrap();
        crate::sink::check::check(&whole.sink[0]).unwrap();
        assert_eq!(whole.sink[0].weaviate().edges[0].name(), "orders.hasCustomer");
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_place() {
        example("http://x").check().unwrap();
        type Change = fn(&mut WeaviateConfig);
        let cases: [(Change, &str); 10] = [
            (|config| config.url.clear(), "url is missing"),
            (|config| config.batch = 0, "batch is 0"),
            (|config| config.objects.clear(), "no [[sink.object]]"),
            (|config| config.objects[0].class = "customer".to_owned(), "the first a capital"),
            (|config| config.objects[0].class = "Order".to_owned(), "there twice"),
            (|config| config.objects[0].translate = "{".to_owned(), "customers: translate"),
            (
                |config| {
                    config.objects[0].properties.insert("id".to_owned(), "text".to_owned());
                },
                "keeps for itself",
            ),
            (
                |config| {
                    config.objects[0].properties.insert("at".to_owned(), "datum".to_owned());
                },
                "\"datum\"",
            ),
            (|config| config.edges[0].to = "users".to_owned(), "no [[sink.object]] of \"users\""),
            (|config| config.edges[0].property = "HasCustomer".to_owned(), "HasCustomer"),
        ];
        for (change, part) in cases {
            let mut config = example("http://x");
            change(&mut config);
            let error = config.check().unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
