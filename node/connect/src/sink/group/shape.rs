//! What a group is made of: a primary record, and those that belong to it.

use branchline_crdt::query::Filter;
use branchline_crdt::record::{Fields, Schema, Value};

use crate::sink::config::{RelatedConfig, SinkConfig, SinkOnLeave};

/// Relations of one sink. Each is looked up for every group.
const RELATIONS_MAX: usize = 32;

/// How a sink's groups are made.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The collection of the primary records.
    pub collection: String,
    /// The primary record's name.
    pub primary: String,
    /// What belongs to it; each stands behind what it is found by.
    pub relations: Vec<Relation>,
    /// Which primary records count.
    pub filter: Option<String>,
    /// What becomes of an object whose primary record does not count any more.
    pub on_leave: SinkOnLeave,
    /// The values that a change has to touch, as name and path.
    pub watch: Option<Vec<(String, Path)>>,
}

/// Fields within fields.
pub type Path = Vec<String>;

/// Records of one collection that belong to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Their name.
    pub name: String,
    /// Their collection.
    pub collection: String,
    /// Whether there may be several.
    pub many: bool,
    /// How they are found.
    pub way: RelationWay,
}

/// How related records are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelationWay {
    /// Their own field holds the primary record's id.
    By(Path),
    /// A field of the primary record (`None`), or of the relation of this index, holds their id.
    From(Option<usize>, Path),
}

impl Shape {
    /// As a configuration says.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn of(config: &SinkConfig) -> Result<Self, String> {
        if config.collection.is_empty() {
            return Err(
                "it has no collection: say of which collection each record is pushed".to_owned()
            );
        }
        let primary = config.primary().to_owned();
        check_name(&primary)?;
        if config.related.len() > RELATIONS_MAX {
            let found = config.related.len();
            return Err(format!(
                "it has {found} related collections: at most {RELATIONS_MAX} are possible"
            ));
        }
        let relations = in_order(&primary, &config.related)?;
        if let Some(text) = &config.filter {
            let parsed = Filter::parse(text, &Schema::default());
            parsed.map_err(|error| format!("where: {error}"))?;
        }
        if config.on_leave == SinkOnLeave::Delete
            && config.delete.is_none()
            && config.kind == "http"
        {
            return Err(
                "on_leave is \"delete\" without a [sink.delete]: say how an object is deleted"
                    .to_owned(),
            );
        }
        let shape = Self {
            collection: config.collection.clone(),
            primary,
            relations,
            filter: config.filter.clone(),
            on_leave: config.on_leave,
            watch: None,
        };
        let watched = |text: &String| shape.watched(text).map_err(|what| format!("watch: {what}"));
        let watch = config.watch.as_ref();
        let watch = watch.map(|texts| texts.iter().map(watched).collect()).transpose()?;
        Ok(Self { watch, ..shape })
    }

    fn watched(&self, text: &str) -> Result<(String, Path), String> {
        let (name, path) = text.split_once('.').map_or((text, ""), |(name, path)| (name, path));
        let is_known =
            name == self.primary || self.relations.iter().any(|known| known.name == name);
        if !is_known {
            return Err(self.unknown(text, name));
        }
        let path = if path.is_empty() { Path::new() } else { path_of(path)? };
        Ok((name.to_owned(), path))
    }

    fn unknown(&self, text: &str, name: &str) -> String {
        let known: Vec<&str> = self.relations.iter().map(|known| known.name.as_str()).collect();
        let known = [&[self.primary.as_str()], &known[..]].concat().join(", ");
        format!("{text:?} begins with {name:?}, expected one of {known}")
    }

    /// The relations whose records name the primary record, with their index.
    pub fn by(&self) -> impl Iterator<Item = (usize, &Relation, &Path)> {
        self.relations.iter().enumerate().filter_map(|(index, relation)| match &relation.way {
            RelationWay::By(path) => Some((index, relation, path)),
            RelationWay::From(..) => None,
        })
    }
}

/// Puts each relation behind what it is found by.
fn in_order(primary: &str, related: &[RelatedConfig]) -> Result<Vec<Relation>, String> {
    let mut names = vec![primary];
    for config in related {
        let name = config.name();
        check_name(name)?;
        if config.collection.is_empty() {
            return Err(
                "a related collection has no name: expected collection = \"NAME\"".to_owned()
            );
        }
        if names.contains(&name) {
            return Err(format!(
                "two records of a group are called {name}: rename one of them (as = \"NAME\")"
            ));
        }
        names.push(name);
    }
    let mut left: Vec<&RelatedConfig> = related.iter().collect();
    let mut relations: Vec<Relation> = Vec::new();
    while !left.is_empty() {
        let before = left.len();
        let mut waiting = Vec::new();
        for config in left {
            match relation(primary, config, &names, &relations)? {
                Some(relation) => relations.push(relation),
                None => waiting.push(config),
            }
        }
        if waiting.len() == before {
            let names: Vec<&str> = waiting.iter().map(|config| config.name()).collect();
            return Err(format!(
                "{} are found by each other: one of them has to be found by {primary}",
                names.join(", ")
            ));
        }
        left = waiting;
    }
    Ok(relations)
}

/// One relation; `None`: what it is found by has to be known first.
fn relation(
    primary: &str,
    config: &RelatedConfig,
    names: &[&str],
    known: &[Relation],
) -> Result<Option<Relation>, String> {
    let name = config.name().to_owned();
    let about = |what: String| format!("related {name}: {what}");
    let way = match (&config.by, &config.from) {
        (Some(by), None) => RelationWay::By(path_of(by).map_err(about)?),
        (None, Some(from)) => {
            let (of, path) = match from.split_once('.') {
                None => (primary, from.as_str()),
                Some((of, path)) => (of, path),
            };
            if !names.contains(&of) {
                let known = names.join(", ");
                return Err(about(format!("from is {from:?}, and {of:?} is none of {known}")));
            }
            let path = path_of(path).map_err(about)?;
            if of == primary {
                RelationWay::From(None, path)
            } else {
                let Some(index) = known.iter().position(|known| known.name == of) else {
                    return Ok(None);
                };
                let is_many = known.get(index).is_some_and(|known| known.many);
                if is_many && !config.many {
                    return Err(about(format!(
                        "there are many {of}, so there are many of these: say many = true"
                    )));
                }
                RelationWay::From(Some(index), path)
            }
        }
        (None, None) => {
            return Err(about(format!(
                "it says neither by nor from: by = \"FIELD\" if its own field holds the id of {primary}, from = \"FIELD\" if \
                 a field of {primary} holds its id"
            )));
        }
        (Some(_), Some(_)) => {
            return Err(about("it says by and from: expected one of them".to_owned()));
        }
    };
    Ok(Some(Relation {
        name: name.clone(),
        collection: config.collection.clone(),
        many: config.many,
        way,
    }))
}

/// Names stand in jq behind a dot.
fn check_name(name: &str) -> Result<(), String> {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_plain = name.bytes().all(|byte| is_start(byte) || byte.is_ascii_digit());
    if is_plain && name.bytes().next().is_some_and(is_start) && name != "initial" {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot be a record's name in translate: expected letters, digits and _, and not \"initial\"; say as = \"NAME\""
    ))
}

fn path_of(text: &str) -> Result<Path, String> {
    let path: Path = text.split('.').map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        Err(format!(
            "{text:?} is not a field: expected NAME, or NAME.NAME for a field within a field"
        ))
    } else {
        Ok(path)
    }
}

/// What stands at a path.
pub fn at<'a>(fields: &'a Fields, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(fields.get(first)?, |value, name| match value {
        Value::Map(map) => map.get(name),
        _ => None,
    })
}

/// The record ids that a value names: itself, or its elements.
pub fn ids_of(value: &Value) -> Vec<String> {
    match value {
        Value::Str(text) | Value::Text(text) if !text.is_empty() => vec![text.clone()],
        Value::Int(number) | Value::Counter(number) => vec![number.to_string()],
        Value::List(values) => values.iter().flat_map(ids_of).collect(),
        Value::Str(_)
        | Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Timestamp(_)
        | Value::Map(_) => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// The sink of the module's example.
    pub(crate) fn example() -> SinkConfig {
        let table: toml::Table = toml::from_str(include_str!("../config/example.toml")).unwrap();
        table["sink"].as_array().unwrap()[0].clone().try_into().unwrap()
    }

    #[test]
    fn relations_stand_behind_what_they_are_found_by() {
        let mut config = example();
        config.related.reverse();
        let shape = Shape::of(&config).unwrap();
        let names: Vec<_> = shape.relations.iter().map(|known| known.name.as_str()).collect();
        let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
        assert!(place("user") < place("customer"), "{names:?}");
        assert_eq!(
            shape.by().map(|(_, known, _)| known.name.as_str()).collect::<Vec<_>>(),
            ["items", "billing"]
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_was_expected() {
        let of = |name: &str| SinkConfig { collection: name.to_owned(), alias: None, ..example() };
        assert!(Shape::of(&of("open-orders")).unwrap_err().contains("open-orders"));
        let related = |change: &dyn Fn(&mut RelatedConfig)| {
            let mut config = example();
            change(config.related.last_mut().unwrap());
            Shape::of(&config).unwrap_err()
        };
        for (found, part) in [
            (related(&|last| last.from = None), "neither by nor from"),
            (related(&|last| last.by = Some("x".to_owned())), "by and from"),
            (
                related(&|last| last.from = Some("usr.customer_id".to_owned())),
                "\"usr\" is none of order",
            ),
            (related(&|last| last.from = Some("items.customer_id".to_owned())), "many = true"),
            (related(&|last| last.from = Some("customer.id".to_owned())), "found by each other"),
            (related(&|last| last.alias = Some("order".to_owned())), "are called order"),
            (related(&|last| last.from = Some("user.".to_owned())), "is not a field"),
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
        let watch = SinkConfig { watch: Some(vec!["bill.country".to_owned()]), ..example() };
        assert!(Shape::of(&watch).unwrap_err().contains("\"bill\""));
        let filter = SinkConfig { filter: Some("state =".to_owned()), ..example() };
        assert!(Shape::of(&filter).unwrap_err().contains("where: "));
        let left = SinkConfig { on_leave: SinkOnLeave::Delete, delete: None, ..example() };
        assert!(Shape::of(&left).unwrap_err().contains("[sink.delete]"));
    }
}
