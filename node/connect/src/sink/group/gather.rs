//! The records of a group, read together: what `translate` sees, and what the group depends on.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::query::Filter;
use branchline_crdt::record::{Fields, fields_into_json};
use serde_json::{Map, Value as Json};

use super::shape::{Path, RelationWay, Shape, at, ids_of};
use crate::sink::config::SinkOnLeave;

/// Records of one relation that a group may have: a page of memory each.
pub const MEMBERS_MAX: usize = 10_000;
/// Bytes of all records of a group, about.
pub const INPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Records as they are now.
pub trait GroupRecords {
    /// Why they cannot be read.
    type Error;

    /// The fields of a record that is there and not deleted.
    ///
    /// # Errors
    /// Why the record cannot be read now: the group is gathered again later.
    fn fields(&self, collection: &str, id: &str) -> Result<Option<Fields>, Self::Error>;
}

/// The records that name a group's primary one, by the relation's index. At most [`MEMBERS_MAX`] and one more of each.
pub type Members = BTreeMap<usize, Vec<String>>;

/// A record, by collection and id.
pub type Used = BTreeSet<(String, String)>;

/// What a group is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// How it stands with the primary record.
    pub stand: GroupStand,
    /// The records that were looked at by their id, found or missing. Those that name the primary record are not among
    /// them: they are known by their links.
    pub used: Used,
}

/// How it stands with a primary record.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupStand {
    /// It is not there, or deleted.
    Gone,
    /// It does not match the filter, and its object is to stay.
    Kept,
    /// It does not match the filter, and its object is to be deleted.
    Left,
    /// It counts: what `translate` sees, and the values that are watched.
    In(Input),
    /// It counts, and is too large.
    TooLarge(String),
}

/// What `translate` sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Input {
    /// By name.
    pub values: Map<String, Json>,
    /// What is watched, where not all is.
    pub watched: Option<Json>,
}

/// Reads a group. `filter`: the shape's, read by the schema that there is now.
///
/// # Errors
/// Records cannot be read.
pub fn gather<R: GroupRecords>(
    shape: &Shape,
    filter: Option<&Filter>,
    group: &str,
    members: &Members,
    records: &R,
) -> Result<Gathered, R::Error> {
    let without = |stand| Ok(Gathered { stand, used: Used::new() });
    let Some(primary) = records.fields(&shape.collection, group)? else {
        return without(GroupStand::Gone);
    };
    if filter.is_some_and(|filter| !filter.matches(&primary)) {
        return without(match shape.on_leave {
            SinkOnLeave::Keep => GroupStand::Kept,
            SinkOnLeave::Delete => GroupStand::Left,
        });
    }
    let mut found = GatherFound { records, bytes: 0, used: Used::new(), too_large: None };
    // By the relation's index, in order.
    let mut related: Vec<Vec<(String, Fields)>> = Vec::new();
    for (index, relation) in shape.relations.iter().enumerate() {
        let of_relation = match &relation.way {
            RelationWay::By(path) => {
                let ids = members.get(&index).map_or(&[][..], Vec::as_slice);
                found.members(&relation.collection, path, group, ids, relation.many)?
            }
            RelationWay::From(of, path) => {
                let holders: Vec<&Fields> = match of {
                    None => vec![&primary],
                    Some(of) => {
                        related.get(*of).into_iter().flatten().map(|(_, fields)| fields).collect()
                    }
                };
                let ids: BTreeSet<String> =
                    holders.iter().filter_map(|fields| at(fields, path)).flat_map(ids_of).collect();
                found.named(&relation.collection, ids, relation.many)?
            }
        };
        if found.too_large.is_none() && of_relation.len() > MEMBERS_MAX {
            let name = &relation.name;
            found.too_large = Some(format!(
                "it has more than {MEMBERS_MAX} {name}, which are too many for one object"
            ));
        }
        if let Some(what) = found.too_large {
            return Ok(Gathered { stand: GroupStand::TooLarge(what), used: found.used });
        }
        related.push(of_relation);
    }
    let used = found.used;
    let mut values = Map::new();
    values.insert(shape.primary.clone(), json(group, primary));
    for (relation, of_relation) in shape.relations.iter().zip(related) {
        let mut all = of_relation.into_iter().map(|(id, fields)| json(&id, fields));
        let value = if relation.many {
            Json::Array(all.collect())
        } else {
            all.next().unwrap_or(Json::Null)
        };
        values.insert(relation.name.clone(), value);
    }
    let watched = shape.watch.as_ref().map(|watch| watched(watch, &values));
    Ok(Gathered { stand: GroupStand::In(Input { values, watched }), used })
}

/// Records that were found for a group.
struct GatherFound<'a, R> {
    records: &'a R,
    bytes: usize,
    used: Used,
    too_large: Option<String>,
}

impl<R: GroupRecords> GatherFound<'_, R> {
    /// Those that name the primary record, as they are now: one that names another by now is on its way there.
    fn members(
        &mut self,
        collection: &str,
        path: &Path,
        group: &str,
        ids: &[String],
        many: bool,
    ) -> Result<Vec<(String, Fields)>, R::Error> {
        let mut found = Vec::new();
        for id in ids {
            if let Some(fields) = self.records.fields(collection, id)?
                && at(&fields, path)
                    .is_some_and(|value| ids_of(value).iter().any(|named| named == group))
            {
                self.count(&fields);
                found.push((id.clone(), fields));
                if !many || self.too_large.is_some() {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn named(
        &mut self,
        collection: &str,
        ids: BTreeSet<String>,
        many: bool,
    ) -> Result<Vec<(String, Fields)>, R::Error> {
        let mut found = Vec::new();
        let limit = if many { MEMBERS_MAX + 1 } else { 1 };
        for id in ids.into_iter().take(limit) {
            let fields = self.records.fields(collection, &id)?;
            self.used.insert((collection.to_owned(), id.clone()));
            if let Some(fields) = fields {
                self.count(&fields);
                found.push((id, fields));
                if self.too_large.is_some() {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn count(&mut self, fields: &Fields) {
        self.bytes += fields.iter().map(|(name, value)| name.len() + bytes(value)).sum::<usize>();
        if self.bytes > INPUT_BYTES_MAX {
            self.too_large = Some(format!("its records are larger than {INPUT_BYTES_MAX} bytes"));
        }
    }
}

fn bytes(value: &branchline_crdt::record::Value) -> usize {
    use branchline_crdt::record::Value;
    match value {
        Value::Str(text) | Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(values) => values.iter().map(bytes).sum(),
        Value::Map(map) => map.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Timestamp(_)
        | Value::Counter(_) => 8,
    }
}

/// A record as `translate` sees it: its fields, and its id as `id` where no field is called so.
fn json(id: &str, fields: Fields) -> Json {
    let mut map = fields_into_json(fields);
    map.entry("id").or_insert_with(|| Json::String(id.to_owned()));
    Json::Object(map)
}

fn watched(watch: &[(String, Path)], values: &Map<String, Json>) -> Json {
    let of = |(name, path): &(String, Path)| match values.get(name) {
        Some(Json::Array(all)) => Json::Array(all.iter().map(|one| json_at(one, path)).collect()),
        Some(one) => json_at(one, path),
        None => Json::Null,
    };
    Json::Array(watch.iter().map(of).collect())
}

fn json_at(value: &Json, path: &[String]) -> Json {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.cloned().unwrap_or(Json::Null)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::convert::Infallible;

    use branchline_crdt::record::{Schema, Value};
    use serde_json::json;

    use super::*;
    use crate::sink::group::shape::tests::example;

    /// Records that a test holds.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Held(pub(crate) BTreeMap<(String, String), Fields>);

    impl GroupRecords for Held {
        type Error = Infallible;

        fn fields(&self, collection: &str, id: &str) -> Result<Option<Fields>, Infallible> {
            Ok(self.0.get(&(collection.to_owned(), id.to_owned())).cloned())
        }
    }

    /// Collection, id and fields.
    type Given<'a> = (&'a str, &'a str, &'a [(&'a str, Value)]);

    fn held(records: &[Given<'_>]) -> Held {
        let fields = |fields: &[(&str, Value)]| {
            fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let record = |(collection, id, of): &Given<'_>| {
            (((*collection).to_owned(), (*id).to_owned()), fields(of))
        };
        Held(records.iter().map(record).collect())
    }

    fn text(text: &str) -> Value {
        Value::Str(text.to_owned())
    }

    #[test]
    fn a_group_has_its_related_records_by_name_and_knows_what_it_used() {
        let shape = Shape::of(&example()).unwrap();
        let held = held(&[
            (
                "orders",
                "7",
                &[("state", text("sent")), ("ref", text("A-7")), ("user_id", text("u1"))],
            ),
            ("billing", "b1", &[("order_id", Value::Int(7)), ("country", text("ES"))]),
            (
                "items",
                "i1",
                &[("order_id", text("7")), ("sku", text("tea")), ("qty", Value::Int(2))],
            ),
            (
                "items",
                "i2",
                &[("order_id", text("8")), ("sku", text("jam")), ("qty", Value::Int(1))],
            ),
            ("users", "u1", &[("customer_id", text("c9"))]),
        ]);
        let index =
            |name: &str| shape.relations.iter().position(|known| known.name == name).unwrap();
        let members = Members::from([
            (index("billing"), vec!["b1".to_owned()]),
            // One that names another order by now.
            (index("items"), vec!["i1".to_owned(), "i2".to_owned()]),
        ]);
        let filter = Filter::parse("state = 'sent'", &Schema::default()).unwrap();
        let gathered = gather(&shape, Some(&filter), "7", &members, &held).unwrap();
        let GroupStand::In(input) = gathered.stand else { panic!("{:?}", gathered.stand) };
        assert_eq!(
            input.values["order"],
            json!({ "ref": "A-7", "state": "sent", "user_id": "u1", "id": "7" })
        );
        assert_eq!(
            input.values["items"],
            json!([{ "id": "i1", "order_id": "7", "qty": 2, "sku": "tea" }])
        );
        assert_eq!(input.values["billing"]["country"], "ES");
        assert_eq!(input.values["customer"], Json::Null);
        let watched = input.watched.unwrap();
        assert_eq!(watched, json!(["sent", "A-7", "ES", input.values["items"]]));
        let used = [("users", "u1"), ("customers", "c9")];
        let used: Used = used.map(|(of, id)| (of.to_owned(), id.to_owned())).into();
        assert_eq!(gathered.used, used);
    }

    #[test]
    fn a_primary_record_that_is_gone_or_left_the_filter_has_no_input() {
        let mut config = example();
        let held = held(&[("orders", "7", &[("state", text("new"))])]);
        let filter = Filter::parse("state = 'sent'", &Schema::default()).unwrap();
        let stand = |config: &_, id: &str| {
            let shape = Shape::of(config).unwrap();
            gather(&shape, Some(&filter), id, &Members::new(), &held).unwrap().stand
        };
        assert_eq!(stand(&config, "8"), GroupStand::Gone);
        assert_eq!(stand(&config, "7"), GroupStand::Kept);
        config.on_leave = SinkOnLeave::Delete;
        assert_eq!(stand(&config, "7"), GroupStand::Left);
    }

    #[test]
    fn a_group_with_too_many_members_is_refused_as_a_whole() {
        let shape = Shape::of(&example()).unwrap();
        let mut held = held(&[("orders", "7", &[("state", text("sent"))])]);
        let ids: Vec<String> = (0..=MEMBERS_MAX).map(|n| n.to_string()).collect();
        for id in &ids {
            let fields = Fields::from([("order_id".to_owned(), text("7"))]);
            held.0.insert(("items".to_owned(), id.clone()), fields);
        }
        let index = shape.relations.iter().position(|known| known.name == "items").unwrap();
        let members = Members::from([(index, ids)]);
        let gathered = gather(&shape, None, "7", &members, &held).unwrap();
        assert!(matches!(gathered.stand, GroupStand::TooLarge(what) if what.contains("items")));
    }
}
