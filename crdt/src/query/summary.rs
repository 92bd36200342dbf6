//! Counts, sums, averages, least and greatest values, by group.

use std::collections::BTreeMap;

use super::error::{QueryError, QueryFault, QueryPart};
use super::filter::Filter;
use super::page::Bounds;
use super::parser::{self, Listed};
use super::source::Source;
use super::total::Total;
use super::unlike::{Noted, Unlike};
use crate::ids::SpaceId;
use crate::record::Field;
use crate::record::Scalar;
use crate::record::{FieldNames, Kind, NamedValues, Schema, Value, ValueRef};
use crate::store::StoreError;
use crate::store::tables::ReadTables;

/// Most groups of a summary: they are all in memory, and in one answer.
pub const GROUPS_MAX: usize = 10_000;
/// Bytes that the groups' values and least and greatest values may take together.
pub(super) const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is asked of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// The sum of its numbers.
    Sum,
    /// The average of its numbers.
    Avg,
    /// Its least value.
    Min,
    /// Its greatest value.
    Max,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 4] = [Self::Sum, Self::Avg, Self::Min, Self::Max];

    fn part(self) -> QueryPart {
        match self {
            Self::Sum => QueryPart::Sum,
            Self::Avg => QueryPart::Avg,
            Self::Min => QueryPart::Min,
            Self::Max => QueryPart::Max,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.part().as_str()
    }

    fn is_of(self, kind: Kind) -> bool {
        match kind {
            Kind::Integer | Kind::Float | Kind::Decimal | Kind::Counter => true,
            Kind::String
            | Kind::Boolean
            | Kind::Timestamp
            | Kind::Datetime
            | Kind::Bytes
            | Kind::Text => matches!(self, Self::Min | Self::Max),
            Kind::List | Kind::Map => false,
        }
    }
}

/// The texts of a summary that is asked for: each is fields separated by commas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SummaryText<'t> {
    /// Which records.
    pub filter: Option<&'t str>,
    /// By what they are grouped.
    pub by: Option<&'t str>,
    /// What is asked of which fields, by [`Measure::ALL`].
    pub measures: [Option<&'t str>; 4],
}

/// A summary that is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SummaryQuery {
    pub(super) filter: Option<Filter>,
    pub(super) by: Vec<Field>,
    pub(super) measures: Vec<(Measure, Field)>,
}

impl SummaryQuery {
    /// Reads what is asked of records of a schema.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong, and where.
    pub fn parse(schema: &Schema, asked: SummaryText<'_>) -> Result<Self, QueryError> {
        let filter = asked.filter.map(|text| Filter::parse(text, schema)).transpose()?;
        let by = match asked.by {
            Some(text) => parser::fields(QueryPart::By, text, schema)?,
            None => Vec::new(),
        };
        let by = by.into_iter().map(|listed| listed.field).collect();
        let mut measures = Vec::new();
        for (measure, text) in Measure::ALL.into_iter().zip(asked.measures) {
            let Some(text) = text else { continue };
            for Listed { field, offset, .. } in parser::fields(measure.part(), text, schema)? {
                if let Some(kind) = field.kind.filter(|kind| !measure.is_of(*kind)) {
                    let of = format!("{:?}, which is declared as {kind}", field.path);
                    let fault = QueryFault::Test { test: measure.as_str(), of };
                    return Err(QueryError { part: measure.part(), offset, fault });
                }
                measures.push((measure, field));
            }
        }
        Ok(Self { filter, by, measures })
    }

    /// The fields that it needs of a record.
    fn fields(&self) -> impl Iterator<Item = &Field> {
        let filter = self.filter.iter().flat_map(Filter::fields);
        let measures = self.measures.iter().map(|(_, field)| field);
        filter.chain(&self.by).chain(measures)
    }

    /// The fields by which records are grouped.
    pub fn by(&self) -> impl Iterator<Item = &str> {
        self.by.iter().map(|field| field.path.as_str())
    }

    /// What is asked of which fields.
    pub fn measures(&self) -> impl Iterator<Item = (Measure, &str)> {
        self.measures.iter().map(|(measure, field)| (*measure, field.path.as_str()))
    }
}

/// What the records of a collection come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The groups, by the values of their fields. Without fields there is one.
    pub groups: Vec<Group>,
    /// Records that were looked at.
    pub scanned: usize,
    /// Fields of the query that no schema declares, and that none of those records has.
    pub unknown_fields: Vec<String>,
    /// Fields of the filter that hold values of another kind than they are compared with.
    pub unlike: Vec<Unlike>,
}

/// Records that have the same values of the fields that one groups by.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Those values, as the first of the records has them.
    pub by: Vec<Value>,
    /// How many records.
    pub count: u64,
    /// What was asked of fields, in that order.
    pub measures: Vec<MeasureValue>,
}

/// What one measure comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureValue {
    /// The sum, average, least or greatest value; null: there is none. The sum of integers is an integer if 64 bits
    /// hold it. Other sums, and averages, are exact decimals in a string; averages are rounded to six places more than
    /// the values have. If one of the values is a float, so is what they come to.
    pub value: Value,
    /// Values that were left out, because they are not numbers.
    pub skipped: u64,
}

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// There are too many groups.
    #[error("there are more than {max} groups, or their values are too large")]
    TooManyGroups {
        /// How many are possible.
        max: usize,
    },
    /// It would take more work than one request may be.
    #[error("more than {max} records would have to be summed up")]
    TooMany {
        /// How many are possible.
        max: usize,
    },
    /// The tables failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sums up the records of a collection by reading them.
pub(super) fn by_reading(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &SummaryQuery,
    bounds: Bounds,
) -> Result<Summary, SummaryError> {
    let mut groups = Groups { query, by_key: BTreeMap::new(), bytes: 0, key: Vec::new() };
    let names: FieldNames<'_> = query.fields().map(Field::name).collect();
    let mut noted = Noted::of(query.fields(), query.filter.as_ref());
    let mut scanned = 0;
    let mut is_too_many = false;
    if query.by.is_empty() {
        groups.by_key.insert(Vec::new(), groups.empty(Vec::new()));
    }
    let source = Source::of(tables, space, collection, query.filter.as_ref())?;
    source.each(tables, space, collection, None, |_, row| {
        is_too_many = scanned >= bounds.sorted;
        scanned += 1;
        if let Some(fields) = row.fields(&names)? {
            noted.see(&fields);
            if query.filter.as_ref().is_none_or(|filter| filter.matches(&fields)) {
                groups.add(&fields);
            } else {
                noted.miss(&fields);
            }
        }
        Ok(!is_too_many && !groups.are_too_many())
    })?;
    if groups.are_too_many() {
        return Err(SummaryError::TooManyGroups { max: GROUPS_MAX });
    }
    if is_too_many {
        return Err(SummaryError::TooMany { max: bounds.sorted });
    }
    let groups = groups.by_key.into_values().map(GroupSum::end).collect();
    let (unknown_fields, unlike) = noted.end();
    Ok(Summary { groups, scanned, unknown_fields, unlike })
}

struct Groups<'q> {
    query: &'q SummaryQuery,
    /// By the encoded values of their fields.
    by_key: BTreeMap<Vec<u8>, GroupSum>,
    /// What the keys, and the least and greatest values, take.
    bytes: usize,
    /// Room for the next key.
    key: Vec<u8>,
}

struct GroupSum {
    by: Vec<Value>,
    count: u64,
    measures: Vec<Accumulator>,
}

impl Groups<'_> {
    fn empty(&self, by: Vec<Value>) -> GroupSum {
        let measures = self.query.measures.iter();
        let measures = measures.map(|(measure, _)| Accumulator::new(*measure));
        GroupSum { by, count: 0, measures: measures.collect() }
    }

    fn are_too_many(&self) -> bool {
        self.by_key.len() > GROUPS_MAX || self.bytes > GROUP_BYTES_MAX
    }

    fn add(&mut self, fields: &impl NamedValues) {
        self.key.clear();
        for field in &self.query.by {
            field.scalar(fields).encode(usize::MAX, &mut self.key);
        }
        let group = match self.by_key.get_mut(&self.key) {
            Some(group) => group,
            None => {
                let values = self.query.by.iter().map(|field| field.find(fields));
                let values: Vec<_> =
                    values.map(|value| value.map_or(Value::Null, ValueRef::to_value)).collect();
                self.bytes += self.key.len() + values.iter().map(Value::json_bytes).sum::<usize>();
                let group = self.empty(values);
                self.by_key.entry(self.key.clone()).or_insert(group)
            }
        };
        group.count += 1;
        for ((_, field), accumulator) in self.query.measures.iter().zip(&mut group.measures) {
            if let Some(value) = field.find(fields) {
                self.bytes += accumulator.add(value, field.kind);
            }
        }
    }
}

impl GroupSum {
    fn end(self) -> Group {
        let measures = self.measures.into_iter().map(Accumulator::end).collect();
        Group { by: self.by, count: self.count, measures }
    }
}

enum Accumulator {
    Total { is_average: bool, total: Total },
    Extreme { is_least: bool, kept: Option<(Value, Option<Kind>)> },
}

impl Accumulator {
    fn new(measure: Measure) -> Self {
        match measure {
            Measure::Sum | Measure::Avg => {
                Self::Total { is_average: measure == Measure::Avg, total: Total::default() }
            }
            Measure::Min | Measure::Max => {
                Self::Extreme { is_least: measure == Measure::Min, kept: None }
            }
        }
    }

    /// Takes a value in, and says how many bytes more are kept.
    fn add(&mut self, value: ValueRef<'_>, kind: Option<Kind>) -> usize {
        match self {
            Self::Total { total, .. } => {
                total.add(value, kind);
                0
            }
            Self::Extreme { is_least, kept } => {
                let scalar = Scalar::of(value, kind);
                let is_better = match kept {
                    None => scalar != Scalar::Null,
                    Some((kept, _)) if *is_least => {
                        scalar != Scalar::Null && scalar < Scalar::of(&*kept, kind)
                    }
                    Some((kept, _)) => scalar > Scalar::of(&*kept, kind),
                };
                if !is_better {
                    return 0;
                }
                let before = kept.as_ref().map_or(0, |(value, _)| value.json_bytes());
                *kept = Some((value.to_value(), kind));
                value.json_bytes().saturating_sub(before)
            }
        }
    }

    fn end(self) -> MeasureValue {
        match self {
            Self::Total { is_average, total } => {
                let skipped = total.skipped;
                MeasureValue { value: total.end(is_average), skipped }
            }
            Self::Extreme { kept, .. } => {
                let value = kept.map_or(Value::Null, |(value, _)| value);
                MeasureValue { value, skipped: 0 }
            }
        }
    }
}
