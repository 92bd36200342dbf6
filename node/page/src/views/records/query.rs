//! What is asked of a table of records, by the query of its address.

use axum::http::Uri;

use crate::ask::{encoded, path_with};
use crate::form::Fields;
use crate::layout;

/// Records on a page of the table.
pub(in crate::views) const PAGE_RECORDS: usize = 50;
/// Columns where none are chosen: what fits beside each other.
pub(in crate::views) const COLUMNS: usize = 8;
/// Columns that can be chosen.
pub(in crate::views) const COLUMNS_MAX: usize = 64;

/// What is asked of a table.
#[derive(Clone, Debug, Default)]
pub(in crate::views) struct RecordQuery {
    pub(in crate::views) collection: String,
    pub(in crate::views) space: Option<String>,
    pub(in crate::views) filter: Option<String>,
    pub(in crate::views) order: Option<String>,
    pub(in crate::views) columns: Vec<String>,
    pub(in crate::views) after: Option<String>,
    /// Whether the records of a filter are to be counted.
    pub(in crate::views) is_counted: bool,
    /// The fields to group by, and to sum up.
    pub(in crate::views) by: Option<String>,
    pub(in crate::views) sum: Option<String>,
    /// The field of times by whose months records are to be summed up.
    pub(in crate::views) month: Option<String>,
}

impl RecordQuery {
    pub(in crate::views) fn of(collection: String, uri: &Uri) -> Self {
        let fields = Fields::of_query(uri);
        let given = |name: &str| fields.given(name).map(str::to_owned);
        let columns = fields.iter().filter(|(name, value)| *name == "column" && !value.is_empty());
        let columns = columns.map(|(_, value)| value.to_owned()).take(COLUMNS_MAX).collect();
        Self {
            collection,
            space: given("space"),
            filter: given("where"),
            order: given("order"),
            columns,
            after: given("after"),
            is_counted: given("count").is_some(),
            by: given("by"),
            sum: given("sum"),
            month: given("month"),
        }
    }

    pub(in crate::views) fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    /// The path of the same table.
    pub(in crate::views) fn path(&self) -> String {
        self.path_of("")
    }

    /// The path of something that is made of the same records.
    pub(in crate::views) fn path_of(&self, behind: &str) -> String {
        let path = format!("/records/{}{behind}", encoded(&self.collection));
        let count = self.is_counted.then_some("1");
        let mut pairs = vec![
            ("space", self.space()),
            ("where", self.filter.as_deref()),
            ("order", self.order.as_deref()),
            ("after", self.after.as_deref()),
            ("count", count),
            ("by", self.by.as_deref()),
            ("sum", self.sum.as_deref()),
            ("month", self.month.as_deref()),
        ];
        pairs.extend(self.columns.iter().map(|column| ("column", Some(column.as_str()))));
        path_with(&path, &pairs)
    }

    /// The path of its list in the API.
    pub(in crate::views) fn api_list(&self, limit: usize) -> String {
        let path = format!("/v1/records/{}", encoded(&self.collection));
        let limit = limit.to_string();
        path_with(
            &path,
            &[
                ("space", self.space()),
                ("where", self.filter.as_deref()),
                ("order", self.order.as_deref()),
                ("after", self.after.as_deref()),
                ("limit", Some(&limit)),
            ],
        )
    }

    /// The same list from its beginning, by this order.
    pub(in crate::views) fn ordered(&self, order: String) -> Self {
        Self { order: Some(order), after: None, ..self.clone() }
    }

    /// What is asked for already, and this.
    pub(in crate::views) fn and(&self, filter: &str) -> String {
        match &self.filter {
            Some(before) => format!("({before}) and {filter}"),
            None => filter.to_owned(),
        }
    }

    /// The list of what a filter finds, without totals.
    pub(in crate::views) fn only(&self, filter: String) -> Self {
        let filter = Some(filter);
        let Self { collection, space, order, columns, .. } = self.clone();
        Self { collection, space, order, columns, filter, ..Self::default() }
    }

    /// The command line that lists the same, and where totals are asked for the one that sums them up.
    pub(in crate::views) fn command(&self) -> String {
        let mut command = format!("branchline list {}", layout::quoted(&self.collection));
        let options = [("where", &self.filter), ("order", &self.order), ("space", &self.space)];
        for (name, value) in options {
            if let Some(value) = value {
                command += &format!(" --{name} {}", layout::quoted(value));
            }
        }
        if self.by.is_some() || self.sum.is_some() {
            command += &format!("; branchline summary {}", layout::quoted(&self.collection));
            let options = [
                ("where", &self.filter),
                ("by", &self.by),
                ("sum", &self.sum),
                ("space", &self.space),
            ];
            for (name, value) in options {
                if let Some(value) = value {
                    command += &format!(" --{name} {}", layout::quoted(value));
                }
            }
        }
        command
    }
}
