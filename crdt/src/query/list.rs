//! A list that is asked for, and which records are on it.

use super::error::QueryError;
use super::filter::Filter;
use super::order::{Order, QueryCursor, WrongCursor};
use super::unlike::Noted;
use crate::record::Field;
use crate::record::{FieldNames, NamedValues, Schema, View};
use crate::store::StoreError;
use crate::store::tables::records::ShownRow;

/// A list that is asked for: which records, in which order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    pub(super) filter: Option<Filter>,
    pub(super) order: Order,
    /// Tells its cursors from those of other queries.
    tag: [u8; 8],
}

/// A sort key and a record id.
pub(super) type PagePlace = (Vec<u8>, String);

impl Query {
    /// Reads a filter and an order on records of a collection.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong, and where.
    pub fn parse(
        collection: &str,
        schema: &Schema,
        filter: Option<&str>,
        order: Option<&str>,
    ) -> Result<Self, QueryError> {
        let mut hasher = blake3::Hasher::new();
        for text in [Some(collection), filter, order] {
            hasher.update(&(text.map_or(0, |text| text.len() + 1) as u64).to_le_bytes());
            hasher.update(text.unwrap_or_default().as_bytes());
        }
        let filter = filter.map(|text| Filter::parse(text, schema)).transpose()?;
        let order = order.map(|text| Order::parse(text, schema)).transpose()?.unwrap_or_default();
        // A field that is declared meanwhile may sort otherwise.
        for field in &order.fields {
            hasher.update(field.field.kind.map_or("-", |kind| kind.as_str()).as_bytes());
        }
        let mut tag = [0; 8];
        hasher.finalize_xof().fill(&mut tag);
        Ok(Self { filter, order, tag })
    }

    /// The place that a text from a page of this query names.
    ///
    /// # Errors
    /// [`WrongCursor`].
    pub fn cursor(&self, text: &str) -> Result<QueryCursor, WrongCursor> {
        let cursor = QueryCursor::from_text(text)?;
        if cursor.query == self.tag { Ok(cursor) } else { Err(WrongCursor::OfAnotherQuery) }
    }

    /// The fields that decide whether a record is on the list, and where.
    pub(super) fn names(&self) -> FieldNames<'_> {
        let filter = self.filter.iter().flat_map(Filter::fields);
        let order = self.order.fields.iter().map(|field| &field.field);
        filter.chain(order).map(Field::name).collect()
    }

    pub(super) fn matches(&self, fields: &impl NamedValues) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(fields))
    }

    /// What is to be said of the filter, before any record was looked at.
    pub(super) fn noted(&self) -> Noted<'_> {
        Noted::of(self.filter.iter().flat_map(Filter::fields), self.filter.as_ref())
    }

    /// The record, if it is on the list. `names`: those of [`Query::names`].
    pub(super) fn find(
        &self,
        names: &FieldNames<'_>,
        row: &ShownRow<'_>,
        noted: &mut Noted<'_>,
    ) -> Result<Option<View>, StoreError> {
        if self.filter.is_some() {
            let Some(fields) = row.fields(names)? else { return Ok(None) };
            noted.see(&fields);
            if !self.matches(&fields) {
                noted.miss(&fields);
                return Ok(None);
            }
        }
        let view = row.view()?;
        Ok((!view.deleted).then_some(view))
    }

    pub(super) fn place(&self, key: Vec<u8>, id: String) -> QueryCursor {
        QueryCursor { query: self.tag, key, id }
    }
}
