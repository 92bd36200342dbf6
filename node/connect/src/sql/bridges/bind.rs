//! Binding: what a bridge's configuration says of its tables, put together with the tables as they are.

use std::collections::BTreeMap;

use branchline_node::Handle;
use branchline_node::records::{FieldSpec, RecordKey, SCHEMA_COLLECTION, Schema, read};

use super::BridgeNotReady;
use crate::sql::codec::FieldKind;
use crate::sql::config::{BridgeConfig, TableConfig};
use crate::sql::database::Database;
use crate::sql::mapping::{self, Mapping};
use crate::sql::plan;

/// The kinds that schemas declare, by collection and field.
pub type DeclaredKinds = BTreeMap<String, BTreeMap<String, FieldKind>>;

/// What the schemas of a bridge's collections declare already.
///
/// # Errors
/// [`BridgeNotReady`] where the node cannot be asked.
pub async fn declared(
    node: &Handle,
    config: &BridgeConfig,
) -> Result<DeclaredKinds, BridgeNotReady> {
    let mut found = BTreeMap::new();
    for table in &config.tables {
        let id = table.collection.clone();
        let read = node.read(move |tables, space| {
            let key = RecordKey { space, collection: SCHEMA_COLLECTION.to_owned(), id };
            read::record(tables, &key)
        });
        let view = read.await.map_err(|error| BridgeNotReady::Node(error.to_string()))?;
        let schema = view.as_ref().and_then(Schema::of).unwrap_or_default();
        let kind = |(field, spec): (&String, &FieldSpec)| {
            Some((field.clone(), spec.kind.as_str().parse().ok()?))
        };
        found.insert(table.collection.clone(), schema.fields().iter().filter_map(kind).collect());
    }
    Ok(found)
}

/// Binds a bridge's tables. `known`: the numbers that tables have already.
///
/// # Errors
/// [`BridgeNotReady`] where a table is not there, or cannot be bound as the configuration says.
pub async fn bind(
    config: &BridgeConfig,
    database: &mut dyn Database,
    site: &str,
    known: &BTreeMap<String, u32>,
    declared: &DeclaredKinds,
) -> Result<BTreeMap<u32, Mapping>, BridgeNotReady> {
    let BoundTables { mappings, unbound } = tables(config, database, site, known, declared).await?;
    match refused(unbound) {
        Some(refused) => Err(refused),
        None => Ok(mappings),
    }
}

/// As [`bind`], where tables that are bridged already have changed so that they cannot be: the others are bound, and with
/// them comes why these are not.
pub(super) async fn what_can_be(
    config: &BridgeConfig,
    database: &mut dyn Database,
    site: &str,
    known: &BTreeMap<String, u32>,
    declared: &DeclaredKinds,
) -> Result<(BTreeMap<u32, Mapping>, BTreeMap<u32, String>), BridgeNotReady> {
    let BoundTables { mappings, unbound } = tables(config, database, site, known, declared).await?;
    let is_known = |table: &Unbound| table.number.is_some();
    if mappings.is_empty() || !unbound.iter().all(is_known) {
        return match refused(unbound) {
            Some(refused) => Err(refused),
            None => Ok((mappings, BTreeMap::new())),
        };
    }
    let why = |table: Unbound| {
        let why = BridgeNotReady::from(table.why).to_string();
        let what = format!(
            "{why}; mend the table, or what branchline.toml says of it, then `branchline bridge resume {}`",
            config.name
        );
        table.number.map(|number| (number, what))
    };
    Ok((mappings, unbound.into_iter().filter_map(why).collect()))
}

/// Tables that are bound, and those that cannot be.
struct BoundTables {
    mappings: BTreeMap<u32, Mapping>,
    unbound: Vec<Unbound>,
}

struct Unbound {
    /// The number that it has already.
    number: Option<u32>,
    why: Why,
}

enum Why {
    NoTable(String),
    Refused(Vec<String>),
}

impl From<Why> for BridgeNotReady {
    fn from(why: Why) -> Self {
        match why {
            Why::NoTable(table) => Self::NoTable(table),
            Why::Refused(why) => Self::Refused(why),
        }
    }
}

/// Why tables cannot be bound, together.
fn refused(unbound: Vec<Unbound>) -> Option<BridgeNotReady> {
    let mut refusals = Vec::new();
    for Unbound { why, .. } in unbound {
        match why {
            Why::NoTable(table) => return Some(BridgeNotReady::NoTable(table)),
            Why::Refused(why) => refusals.extend(why),
        }
    }
    (!refusals.is_empty()).then_some(BridgeNotReady::Refused(refusals))
}

async fn tables(
    config: &BridgeConfig,
    database: &mut dyn Database,
    site: &str,
    known: &BTreeMap<String, u32>,
    declared: &DeclaredKinds,
) -> Result<BoundTables, BridgeNotReady> {
    let (mut mappings, mut unbound) = (Vec::new(), Vec::new());
    let mut refusals = plan::wrong_settings(config);
    let undeclared = BTreeMap::new();
    let mut next = known.values().max().map_or(1, |number| number + 1);
    for table in &config.tables {
        let Some(shape) = database.shape(&table.table).await? else {
            let why = Why::NoTable(table.table.clone());
            unbound.push(Unbound { number: number_of(table, known), why });
            continue;
        };
        let before = known.get(&shape.name.to_string()).copied();
        let number = before.unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let declared = declared.get(&table.collection).unwrap_or(&undeclared);
        let mapped = mapping::map_as(table, &shape, database.engine(), site, number, declared);
        match mapped.into_result() {
            Ok(mapping) => mappings.push(mapping),
            Err(found) => {
                let why = found.iter().map(|why| format!("table {}, {why}", shape.name)).collect();
                unbound.push(Unbound { number: before, why: Why::Refused(why) });
            }
        }
    }
    refusals.extend(plan::contradictions(&mappings));
    if !refusals.is_empty() {
        return Err(BridgeNotReady::Refused(refusals));
    }
    let mappings = mappings.into_iter().map(|mapping| (mapping.bound.number, mapping)).collect();
    Ok(BoundTables { mappings, unbound })
}

/// The number that a table has which is not there any more; its name may have been given without its schema.
fn number_of(table: &TableConfig, known: &BTreeMap<String, u32>) -> Option<u32> {
    let behind = format!(".{}", table.table);
    let mut found =
        known.iter().filter(|(name, _)| **name == table.table || name.ends_with(&behind));
    found.next().map(|(_, number)| *number)
}
