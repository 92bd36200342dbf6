//! A plan as text.

use std::fmt;

use super::{Plan, TablePlan};
use crate::sql::codec::FieldKind;
use crate::sql::config::Mode;
use crate::sql::mapping::{Line, Role};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "bridge {}: {}, space {}, site {}",
            self.bridge, self.database, self.space, self.site
        )?;
        for table in &self.tables {
            writeln!(f)?;
            table.write(f)?;
        }
        for (title, texts) in [("To know", &self.warnings), ("Refused", &self.refusals)] {
            if !texts.is_empty() {
                writeln!(f, "\n{title}:")?;
                texts.iter().try_for_each(|text| writeln!(f, "  {text}"))?;
            }
        }
        if !self.is_possible() {
            return writeln!(f, "\nNothing can be installed so.");
        }
        let sections = [
            ("The rights that the bridge's user needs", &self.grants),
            ("What `bridge install` runs", &self.install),
            ("How it is removed, if the node is gone (else: `bridge remove`)", &self.remove),
        ];
        for (title, statements) in sections {
            if !statements.is_empty() {
                writeln!(f, "\n-- {title}:")?;
                statements
                    .iter()
                    .try_for_each(|sql| writeln!(f, "{};", sql.trim_end().trim_end_matches(';')))?;
            }
        }
        if let Some(drop_in) = &self.drop_in {
            write!(f, "\nUnder systemd, `systemctl edit branchline` has to say:\n{drop_in}")?;
        }
        Ok(())
    }
}

impl TablePlan {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, collection, .. } = self;
        match self.mode {
            Mode::Capture => write!(f, "table {table} to collection {collection}")?,
            Mode::Apply => write!(f, "collection {collection} to table {table}")?,
            Mode::Both => write!(f, "table {table} and collection {collection}, both ways")?,
        }
        match &self.record_id {
            Some(id) => writeln!(f, ", records {id}")?,
            None => writeln!(f)?,
        }
        let head = ["COLUMN", "TYPE", "FIELD", "KIND", "NOTE"].map(str::to_owned);
        let rows: Vec<[String; 5]> =
            [head].into_iter().chain(self.columns.iter().map(cells)).collect();
        let width = |n: usize| {
            rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..5).map(|n| width(n).unwrap_or_default()).collect();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "  {}", cells.join("  ").trim_end())?;
        }
        if let Some(schema) = &self.schema {
            writeln!(f, "  schema: {schema}")?;
        }
        Ok(())
    }
}

fn cells(line: &Line) -> [String; 5] {
    let note = match (line.role, &line.note[..]) {
        (Role::Field, note) => note.to_owned(),
        (role, "") => role.as_str().to_owned(),
        (role, note) => format!("{}: {note}", role.as_str()),
    };
    let or_line = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        or_line(&line.column),
        or_line(&line.declared),
        or_line(line.field.as_deref().unwrap_or_default()),
        or_line(line.kind.map_or("", FieldKind::as_str)),
        note,
    ]
}
