//! Which kind each field of an input is read as: that which is declared, else that of the records which the collection
//! holds, else that of the input's own values. The first import into a collection without a schema declares them.

use std::collections::BTreeMap;

use branchline_crdt::record::Kind;
use serde_json::{Map, Value};

use super::infer::{Inferred, Kinds};
use crate::error::CliError;
use crate::output::{self, counted};

/// What is known of a collection.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The kinds that its schema declares; `None`: it has none.
    pub(crate) declared: Option<Kinds>,
    /// The kinds that its records hold in fields that no schema declares, with their numbers.
    pub(crate) held: Held,
    /// Whether it has records without a schema: what programs wrote is not for an import to fix.
    pub(crate) has_records: bool,
}

/// In how many records a field holds values of a kind, by field and kind.
pub(crate) type Held = BTreeMap<String, BTreeMap<String, u64>>;

/// Kinds of JSON numbers in fields that no schema declares.
const NUMBERS: [Kind; 2] = [Kind::Integer, Kind::Float];

/// How the fields of an input are read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// The kind of each field. A field of JSON may have none: its values are what they are.
    pub(crate) kinds: Kinds,
    /// The schema that the first import declares; empty: there is nothing to declare.
    pub(crate) schema: Map<String, Value>,
    /// Fields that the schema leaves out, and why.
    pub(crate) skipped: Vec<(String, &'static str)>,
    /// Where the input and the collection differ, field by field.
    pub(crate) differences: Vec<String>,
    /// Fields that no schema declares yet, and that are text without one.
    pub(crate) text_fields: Vec<String>,
    is_json: bool,
}

impl Plan {
    /// Decides about the fields of an input, JSON or CSV. `asked`: kinds that the command line names.
    pub(crate) fn new(
        inferred: &BTreeMap<String, Inferred>,
        is_json: bool,
        asked: &[(String, Kind)],
        known: &Known,
    ) -> Result<Self, CliError> {
        if let Some((name, _)) = asked.iter().find(|(name, _)| !inferred.contains_key(name)) {
            let fields: Vec<&str> = inferred.keys().map(String::as_str).collect();
            let message = format!("--types names {name:?}, which the file does not have");
            return Err(CliError::usage(message)
                .hint(format!("it has {}", output::visible(&fields.join(", ")))));
        }
        let mut plan = Self { is_json, ..Self::default() };
        for (name, inferred) in inferred {
            let asked = asked.iter().rev().find(|(asked, _)| asked == name).map(|(_, kind)| *kind);
            let declared = known.declared.as_ref().and_then(|declared| declared.get(name)).copied();
            let held = known.held.get(name);
            let kind = match (declared, asked, held) {
                (Some(declared), asked, _) => {
                    plan.compare_declared(name, declared, asked, *inferred);
                    Some(declared)
                }
                (None, Some(asked), _) => Some(asked),
                (None, None, Some(held)) => plan.join(name, held, *inferred),
                (None, None, None) => inferred.kind(),
            };
            plan.kinds.extend(kind.map(|kind| (name.clone(), kind)));
            if declared.is_none() && kind.is_some_and(is_text_without_schema) {
                plan.text_fields.push(name.clone());
            }
            if known.declared.is_none() {
                match reason_to_leave_out(kind, asked, *inferred, held) {
                    Some(reason) => plan.skipped.push((name.clone(), reason)),
                    None => plan
                        .schema
                        .extend(kind.map(|kind| (name.clone(), Value::from(kind.as_str())))),
                }
            }
        }
        Ok(plan)
    }

    fn compare_declared(
        &mut self,
        name: &str,
        declared: Kind,
        asked: Option<Kind>,
        inferred: Inferred,
    ) {
        if let Some(asked) = asked.filter(|asked| *asked != declared) {
            self.differ(
                name,
                format!("declared as {declared}, which --types {name}={asked} does not change"),
            );
        }
        let inferred = as_decimal(inferred, declared == Kind::Decimal);
        let Some(found) = inferred.kind().filter(|found| !is_read_as(*found, declared)) else {
            return;
        };
        self.differ(name, match fits(found, declared) {
            _ if (found, declared) == (Kind::Datetime, Kind::Timestamp) => {
                "datetime in this file, and declared as timestamp: digits below milliseconds are cut off, and times without a zone set aside".to_owned()
            }
            true => format!("{found} in this file, read as {declared}, as the schema declares"),
            false => format!(
                "{found} in this file, and declared as {declared}: rows that do not fit are set aside"
            ),
        });
    }

    /// The kind in which records and input can be read together.
    fn join(
        &mut self,
        name: &str,
        held: &BTreeMap<String, u64>,
        inferred: Inferred,
    ) -> Option<Kind> {
        let held_kinds: Vec<Kind> = held.keys().filter_map(|kind| kind.parse().ok()).collect();
        let only = |kinds: &[Kind]| held_kinds.iter().all(|kind| kinds.contains(kind));
        let found = as_decimal(inferred, only(&[Kind::Decimal])).kind();
        let is_number = matches!(found, Some(Kind::Integer | Kind::Decimal) | None);
        let kind = match (held_kinds.as_slice(), found) {
            ([], _) => return inferred.kind(),
            // JSON tells whole numbers from others, as the records do.
            (kinds, _) if self.is_json && kinds.contains(&Kind::Float) && only(&NUMBERS) => {
                return None;
            }
            _ if inferred == Inferred::Mixed => only(&[Kind::Decimal]).then_some(Kind::Decimal),
            ([one], None) => Some(*one),
            ([Kind::Integer], Some(Kind::Integer)) => Some(Kind::Integer),
            ([Kind::Counter], _) if is_number => Some(Kind::Counter),
            (kinds, _) if kinds.contains(&Kind::Float) && only(&NUMBERS) && is_number => {
                Some(Kind::Float)
            }
            _ if only(&[Kind::Integer, Kind::Decimal]) && is_number => Some(Kind::Decimal),
            // A text can be any; what only looks like a number may be a code.
            _ if only(&[Kind::String, Kind::Decimal]) => Some(Kind::String),
            (
                [one @ (Kind::Text | Kind::Timestamp | Kind::Bytes | Kind::List | Kind::Map)],
                Some(found),
            ) if is_read_as(found, *one) => Some(*one),
            (_, found) => found,
        };
        let is_alike = held_kinds.len() == 1 && kind == Some(held_kinds[0]);
        // Moments are text, too, until a schema declares them.
        let is_one = |found: Kind| {
            is_read_as(found, held_kinds[0])
                || (matches!(found, Kind::Timestamp | Kind::Datetime)
                    && held_kinds[0] == Kind::String)
        };
        let is_same = is_alike && found.is_none_or(is_one);
        if !is_same {
            let number = |(kind, records): (&String, &u64)| {
                format!("{} in {}", kind_name(kind), counted(*records, "record"))
            };
            let held: Vec<String> = held.iter().map(number).collect();
            let found = found.map_or("of several kinds", Kind::as_str);
            let read = kind.map_or(String::new(), |kind| format!(", read as {kind}"));
            self.differ(
                name,
                format!("{found} in this file{read}; the collection holds {}", held.join(", ")),
            );
        }
        kind
    }

    fn differ(&mut self, name: &str, text: String) {
        self.differences.push(format!("{}: {text}", output::visible(name)));
    }
}

/// JSON strings that are decimals are such where they are wanted.
fn as_decimal(inferred: Inferred, is_wanted: bool) -> Inferred {
    match inferred {
        Inferred::DecimalText if is_wanted => Inferred::Kind(Kind::Decimal),
        inferred => inferred,
    }
}

/// Whether the values of a kind are kept as text where no schema declares them, and compare as text.
fn is_text_without_schema(kind: Kind) -> bool {
    match kind {
        Kind::Decimal | Kind::Timestamp | Kind::Datetime | Kind::Bytes => true,
        Kind::String
        | Kind::Text
        | Kind::Integer
        | Kind::Float
        | Kind::Boolean
        | Kind::Counter
        | Kind::List
        | Kind::Map => false,
    }
}

/// Whether a kind of an input is one of those that a field of the other kind is written as.
fn is_read_as(found: Kind, kind: Kind) -> bool {
    found == kind
        || match kind {
            Kind::Text | Kind::Timestamp | Kind::Bytes => found == Kind::String,
            Kind::Datetime => matches!(found, Kind::String | Kind::Timestamp),
            Kind::List | Kind::Map => found == Kind::String,
            Kind::Counter => found == Kind::Integer,
            Kind::Float => matches!(found, Kind::Decimal | Kind::Integer),
            Kind::String | Kind::Integer | Kind::Boolean | Kind::Decimal => false,
        }
}

/// Whether every value of a kind can be read as one of the other.
fn fits(found: Kind, kind: Kind) -> bool {
    is_read_as(found, kind)
        || kind == Kind::String
        || kind == Kind::Text
        || (kind == Kind::Decimal && found == Kind::Integer)
}

fn kind_name(kind: &str) -> &str {
    if kind == "string" { "text" } else { kind }
}

/// Why the first import does not declare a field, where it does not.
fn reason_to_leave_out(
    kind: Option<Kind>,
    asked: Option<Kind>,
    inferred: Inferred,
    held: Option<&BTreeMap<String, u64>>,
) -> Option<&'static str> {
    let kind = match (kind, inferred) {
        (Some(kind), _) => kind,
        (None, Inferred::Mixed) => return Some("its values are of several kinds"),
        (None, Inferred::Nothing | Inferred::DecimalText | Inferred::Kind(_)) => {
            return Some("it has no values");
        }
    };
    let held_fits = |held: &String| match held.parse::<Kind>() {
        Ok(held) => {
            held == kind
                || (kind == Kind::String && held == Kind::Decimal)
                || (kind == Kind::Decimal && held == Kind::Integer)
        }
        // Null is of every kind.
        Err(_) => true,
    };
    if asked.is_none() && inferred == Inferred::Nothing && held.is_none() {
        return Some("it has no values");
    }
    let is_misfit = held.is_some_and(|held| !held.keys().all(held_fits));
    is_misfit.then_some("records of the collection hold another kind")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plan(inferred: &[(&str, Inferred)], asked: &[(&str, Kind)], known: Known) -> Plan {
        let inferred = inferred.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let asked: Vec<_> = asked.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Plan::new(&inferred, false, &asked, &known).unwrap()
    }

    fn held(kinds: &[(&str, u64)]) -> Known {
        let kinds = kinds.iter().map(|(kind, records)| ((*kind).to_owned(), *records)).collect();
        Known { declared: None, held: Held::from([("price".to_owned(), kinds)]), has_records: true }
    }

    fn of_held(kinds: &[(&str, u64)], found: Kind) -> (Kind, bool, bool) {
        let plan = plan(&[("price", Inferred::Kind(found))], &[], held(kinds));
        (plan.kinds["price"], plan.differences.is_empty(), plan.schema.contains_key("price"))
    }

    #[test]
    fn the_first_import_declares_what_it_found() {
        let fields = [
            ("name", Inferred::Kind(Kind::String)),
            ("price", Inferred::Kind(Kind::Decimal)),
            ("notes", Inferred::Nothing),
            ("odd", Inferred::Mixed),
        ];
        let plan = plan(&fields, &[("name", Kind::Text)], Known::default());
        let kinds: Vec<(&str, &str)> = plan
            .schema
            .iter()
            .map(|(name, kind)| (name.as_str(), kind.as_str().unwrap()))
            .collect();
        assert_eq!(kinds, [("name", "text"), ("price", "decimal")]);
        let skipped: Vec<&str> = plan.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(skipped, ["notes", "odd"]);
        assert_eq!(plan.text_fields, ["price"]);
        assert!(plan.differences.is_empty());
        assert!(
            Plan::new(&BTreeMap::new(), false, &[("x".to_owned(), Kind::Text)], &Known::default())
                .is_err()
        );
    }

    #[test]
    fn what_the_collection_holds_decides_and_differences_are_told() {
        // Decimals in January, whole numbers in February: one kind, and the other way round.
        assert_eq!(of_held(&[("decimal", 2)], Kind::Integer), (Kind::Decimal, false, true));
        assert_eq!(of_held(&[("integer", 2)], Kind::Decimal), (Kind::Decimal, false, true));
        assert_eq!(of_held(&[("decimal", 2)], Kind::Decimal), (Kind::Decimal, true, true));
        assert_eq!(of_held(&[("integer", 2)], Kind::Integer), (Kind::Integer, true, true));
        assert_eq!(
            of_held(&[("integer", 2), ("null", 1)], Kind::Integer),
            (Kind::Integer, true, true)
        );
        // Codes stay text, also in a file in which all of them look like numbers.
        assert_eq!(of_held(&[("string", 2)], Kind::Integer), (Kind::String, false, true));
        assert_eq!(
            of_held(&[("decimal", 2), ("string", 1)], Kind::Decimal),
            (Kind::String, false, true)
        );
        assert_eq!(of_held(&[("decimal", 2)], Kind::String), (Kind::String, false, true));
        assert_eq!(of_held(&[("float", 2)], Kind::Decimal), (Kind::Float, true, true));
        assert_eq!(of_held(&[("counter", 2)], Kind::Integer), (Kind::Counter, true, true));
        assert_eq!(of_held(&[("string", 2)], Kind::Datetime), (Kind::String, true, true));
        assert_eq!(of_held(&[("list", 2)], Kind::String), (Kind::List, true, true));
        // Of several kinds nothing is declared that some records could not be.
        assert_eq!(
            of_held(&[("boolean", 2), ("string", 1)], Kind::Integer),
            (Kind::Integer, false, false)
        );
        assert_eq!(of_held(&[("integer", 2)], Kind::String), (Kind::String, false, false));
    }

    #[test]
    fn what_is_declared_is_not_inferred() {
        let declared = |kind| Known {
            declared: Some(Kinds::from([("price".to_owned(), kind)])),
            held: Held::new(),
            has_records: true,
        };
        for (kind, found, is_told, is_refused) in [
            (Kind::Decimal, Kind::Decimal, false, false),
            (Kind::Decimal, Kind::Integer, true, false),
            (Kind::Integer, Kind::Decimal, true, true),
            (Kind::String, Kind::Integer, true, false),
            (Kind::Text, Kind::String, false, false),
            (Kind::Counter, Kind::Integer, false, false),
            (Kind::Datetime, Kind::Timestamp, false, false),
            (Kind::Datetime, Kind::Integer, true, true),
            (Kind::Timestamp, Kind::Datetime, true, true),
        ] {
            let plan = plan(&[("price", Inferred::Kind(found))], &[], declared(kind));
            assert_eq!(plan.kinds["price"], kind);
            assert_eq!(!plan.differences.is_empty(), is_told, "{kind} {found}");
            assert_eq!(plan.differences.concat().contains("set aside"), is_refused);
            assert!(plan.schema.is_empty() && plan.skipped.is_empty());
        }
        let asked = [("price", Kind::Float)];
        let plan = plan(&[("price", Inferred::Nothing)], &asked, declared(Kind::Decimal));
        assert_eq!((plan.kinds["price"], plan.differences.len()), (Kind::Decimal, 1));
    }
}
