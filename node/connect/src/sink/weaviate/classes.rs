//! Classes and their properties: made before the first object, and added to before the first one that has more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::config::{EdgeConfig, ObjectConfig, WeaviateConfig, bad_property, is_property};
use super::kinds::Kind;
use super::remote::{ClassThere, NewProperty, Remote};
use crate::jobs::fault::{Class, Fault};

/// Properties of one class: beyond, records are no rows of anything.
const PROPERTIES_MAX: usize = 1_000;

/// Why classes are not as they should be.
#[derive(Debug)]
pub(super) enum NotFit {
    /// The server cannot be asked.
    Fault(Fault),
    /// What is there is something else: a person decides.
    Other(String),
}

impl From<Fault> for NotFit {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The classes, as the server has them.
#[derive(Debug, Default)]
pub(super) struct Classes {
    there: BTreeMap<String, ClassThere>,
    /// How many of them were made just now.
    made: usize,
}

impl Classes {
    /// Makes what is missing, and sees that what is there fits.
    pub(super) async fn fit(remote: &Remote, config: &WeaviateConfig) -> Result<Self, NotFit> {
        let mut classes = Self::default();
        // All classes first: an edge's property names the class that it leads to.
        for index in 0..config.objects.len() {
            classes.fit_class(remote, config, index).await?;
        }
        for index in 0..config.objects.len() {
            let Some(ObjectConfig { class, properties, .. }) = config.objects.get(index).cloned()
            else {
                continue;
            };
            for (name, kind) in properties {
                let new = NewProperty::Plain { name: &name, kind: &kind };
                classes.fit_property(remote, &class, &name, &kind, &new).await?;
            }
        }
        for index in 0..config.edges.len() {
            let Some(edge) = config.edges.get(index).cloned() else { continue };
            let (from, to) = ends(config, &edge);
            let new = NewProperty::Edge { name: &edge.property, class: to };
            classes.fit_property(remote, from, &edge.property, to, &new).await?;
        }
        Ok(classes)
    }

    async fn fit_class(
        &mut self,
        remote: &Remote,
        config: &WeaviateConfig,
        index: usize,
    ) -> Result<(), NotFit> {
        let Some(object) = config.objects.get(index).cloned() else { return Ok(()) };
        let there = match remote.class(&object.class).await? {
            Some(there) => there,
            None => {
                let mut plain = Vec::new();
                for (name, kind) in &object.properties {
                    plain.push(NewProperty::Plain { name, kind });
                }
                let made = remote.make_class(&object.class, object.vectorizer.as_deref(), &plain);
                made.await.map_err(|fault| match fault.status {
                    Some(404 | 405) => Fault {
                        message: format!(
                            "there is no Weaviate at url, which usually has no path: http://weaviate:8080; {}",
                            fault.message
                        ),
                        ..fault
                    },
                    _ => fault,
                })?;
                self.made += 1;
                remote.class(&object.class).await?.unwrap_or_default()
            }
        };
        self.there.insert(object.class, there);
        Ok(())
    }

    async fn fit_property(
        &mut self,
        remote: &Remote,
        class: &str,
        name: &str,
        kind: &str,
        new: &NewProperty<'_>,
    ) -> Result<(), NotFit> {
        let there = |classes: &Self| {
            classes.there.get(class).and_then(|class| class.properties.get(name).cloned())
        };
        match there(self) {
            Some(there) if there.kinds.iter().any(|there| there == kind) => Ok(()),
            Some(there) => Err(NotFit::Other(format!(
                "the property {name} of the class {class} is there as {}, expected {kind}: a type never changes, so call the \
                 property otherwise in branchline.toml, or name the type that is there",
                there.kinds.join(", ")
            ))),
            None => {
                remote.add_property(class, new).await?;
                let found = remote.class(class).await?.unwrap_or_default();
                self.there.insert(class.to_owned(), found);
                Ok(())
            }
        }
    }

    /// Whether all of them were made just now, so that nothing can be there.
    pub(super) fn are_new(&self) -> bool {
        self.made == self.there.len()
    }

    /// Whether the server itself keeps edges apart.
    pub(super) fn is_unique(&self, class: &str, property: &str) -> bool {
        let class = self.there.get(class).and_then(|class| class.properties.get(property));
        class.is_some_and(|property| property.is_unique)
    }

    /// What an object has that its class has not, by name and type; or why it cannot be.
    pub(super) fn missing(
        &self,
        class: &str,
        properties: &Map<String, Json>,
    ) -> Result<Vec<(String, Kind)>, String> {
        let known = self.there.get(class).map(|class| &class.properties);
        let mut missing = Vec::new();
        for (name, value) in properties {
            if known.is_some_and(|known| known.contains_key(name)) {
                continue;
            }
            if !is_property(name) {
                return Err(bad_property(name));
            }
            if let Some(kind) =
                Kind::of(value).map_err(|what| format!("the property {name}: {what}"))?
            {
                missing.push((name.clone(), kind));
            }
        }
        let count = known.map_or(0, BTreeMap::len) + missing.len();
        if count > PROPERTIES_MAX {
            Err(format!("its class would have more than {PROPERTIES_MAX} properties"))
        } else {
            Ok(missing)
        }
    }

    /// Adds properties to a class. Those that the server refuses are returned with why.
    pub(super) async fn add(
        &mut self,
        remote: &Remote,
        class: &str,
        missing: BTreeMap<String, Kind>,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut refused = BTreeMap::new();
        for (name, kind) in missing {
            let new = NewProperty::Plain { name: &name, kind: kind.as_str() };
            match remote.add_property(class, &new).await {
                Ok(()) => {}
                Err(fault) if fault.class == Class::Permanent => {
                    refused.insert(name, fault.message);
                }
                Err(fault) => return Err(fault),
            }
        }
        // Somebody else may have made one of them meanwhile: what is there counts.
        if let Some(there) = remote.class(class).await? {
            let names: BTreeSet<&String> = there.properties.keys().collect();
            refused.retain(|name, _| !names.contains(name));
            self.there.insert(class.to_owned(), there);
        }
        Ok(refused)
    }
}

/// The classes at the ends of an edge.
pub(super) fn ends<'a>(config: &'a WeaviateConfig, edge: &EdgeConfig) -> (&'a str, &'a str) {
    let class =
        |collection: &str| config.object(collection).map_or("", |object| object.class.as_str());
    (class(&edge.collection), class(&edge.to))
}
