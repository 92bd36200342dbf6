//! What no bridge should do, said before it does.

use super::build::Build;
use crate::sql::config::{Mode, SideEffects};
use crate::sql::record_id::IdTemplate;
use crate::sql::shape::{Bound, ColumnShape, ColumnType, ForeignKey};
use crate::sql::value::FIELD_NAME_BYTES_MAX;

/// Checks all that depends on more than one column.
pub(super) fn all(build: &mut Build<'_>, template: Option<&IdTemplate>, bound: &Bound) {
    key(build, bound);
    if let Some(template) = template {
        numbering(build, template, bound);
        counters(build, template);
    }
    side_effects(build);
    write_back(build);
}

/// A key must distinguish rows: never NULL, unique, and two keys that differ are two keys to the database.
fn key(build: &mut Build<'_>, bound: &Bound) {
    for column in bound.key_columns() {
        if column.is_nullable {
            let why = "a column of the key must be NOT NULL: rows with NULL in it cannot be distinguished";
            build.refuse(&column.name, why);
        }
        let Some(trap) = &column.key_trap else { continue };
        // Anyone who names the key has seen what it does: no row is lost, the second of two such rows is set aside.
        if build.config.key.contains(&column.name) {
            build.warnings.push(format!(
                "{}: {trap}; of two records whose keys the database takes for one, the second is set aside",
                column.name
            ));
        } else {
            build.refuse(
                &column.name,
                format!(
                    "{trap}; to accept that the second of two such records is set aside, name the key: key = [{}]",
                    quoted(bound)
                ),
            );
        }
    }
    let shape = build.shape;
    let is_key = |name: &String| bound.key_columns().any(|column| column.name == *name);
    let covers = |columns: &[String]| !columns.is_empty() && columns.iter().all(is_key);
    let is_unique = covers(&shape.primary_key)
        || shape.unique.iter().any(|unique| unique.is_plain && covers(&unique.columns));
    if !is_unique {
        build.refuse(
            "key",
            format!(
                "two rows could have the same {}: it needs a unique index",
                quoted(bound).replace('"', "")
            ),
        );
    }
}

fn quoted(bound: &Bound) -> String {
    let names: Vec<String> =
        bound.key_columns().map(|column| format!("{:?}", column.name)).collect();
    names.join(", ")
}

/// Numbers that the database gives out are this office's own.
fn numbering(build: &mut Build<'_>, template: &IdTemplate, bound: &Bound) {
    let others = build.columns.iter().filter(|(shape, mapped)| shape.is_numbered && !mapped.is_key);
    let others: Vec<String> = others.map(|(shape, _)| shape.name.clone()).collect();
    if build.mode().applies() && !others.is_empty() {
        build.warnings.push(format!(
            "{}: other offices' numbers will be written into it, beside those that this database gives out",
            others.join(", ")
        ));
    }
    if template.has_site() {
        return;
    }
    let with_site = format!("record_id = \"{{site}}-{template}\"");
    let (numbered, rest): (Vec<_>, Vec<_>) =
        bound.key_columns().partition(|column| column.is_numbered);
    let names = |columns: &[&ColumnShape]| {
        columns.iter().map(|column| &column.name[..]).collect::<Vec<_>>().join(", ")
    };
    let is_number = |column: &&ColumnShape| matches!(column.kind, ColumnType::Integer { .. });
    match (&numbered[..], build.mode().applies()) {
        ([], _) if !rest.iter().all(is_number) => {}
        ([], _) => build.warnings.push(format!(
            "{}: each number must mean the same at every office; where it is an office's own, say {with_site}, or the rows of two \
             offices become one record",
            names(&rest)
        )),
        ([_, ..], true) if rest.is_empty() => build.refuse(
            &names(&numbered),
            format!(
                "this database numbers it, and so does every other office's: their rows would meet this office's. Say {with_site}, \
                 so that only records of this office are applied, or apply to a table whose key holds the office as well"
            ),
        ),
        ([_, ..], true) => build.warnings.push(format!(
            "{}: this database numbers it, so {} has to name the office, or other offices' rows meet this office's; else say \
             {with_site}",
            names(&numbered),
            names(&rest)
        )),
        ([_, ..], false) => build.warnings.push(format!(
            "{}: this database numbers it; where more than one office captures such a table, say {with_site}, or their rows become \
             one record",
            names(&numbered)
        )),
    }
}

/// Where several offices load the same row, one of them says what its counters begin with.
fn counters(build: &mut Build<'_>, template: &IdTemplate) {
    let counter = build.columns.iter().find(|(_, column)| column.is_counter());
    let Some((shape, _)) = counter else { return };
    let is_shared = build.mode() == Mode::Both && !template.has_site();
    if is_shared && build.config.owner.is_none() {
        build.refuse(
            "owner",
            format!(
                "{} is a counter of rows that several offices have: say owner = \"SITE\" with the office whose numbers count when \
                 the tables are first loaded, or they would add up",
                shape.name
            ),
        );
    }
}

/// An applied row that fires the application's own triggers may count twice: here, and where it came from.
fn side_effects(build: &mut Build<'_>) {
    if !build.mode().applies() {
        return;
    }
    let shape = build.shape;
    let triggers = shape.triggers.iter().filter(|trigger| trigger.is_enabled);
    let triggers = triggers.map(|trigger| format!("trigger {} ({})", trigger.name, trigger.event));
    let is_caused = |foreign: &&ForeignKey| foreign.to == shape.name && foreign.cascades();
    let cascades = shape.foreign_keys.iter().filter(is_caused).map(|foreign| {
        format!(
            "foreign key {} of {} (ON DELETE {}, ON UPDATE {})",
            foreign.name, foreign.from, foreign.on_delete, foreign.on_update
        )
    });
    let found: Vec<String> = triggers.chain(cascades).collect();
    if found.is_empty() {
        return;
    }
    let found = found.join(", ");
    match build.config.side_effects {
        Some(SideEffects::Capture) => build.warnings.push(format!(
            "what these do when a record is applied is captured like any change of the application: {found}"
        )),
        Some(SideEffects::Refuse) => build.refuse(
            "side_effects",
            format!("\"refuse\", and an applied record would set these off: {found}"),
        ),
        None => build.refuse(
            "side_effects",
            format!(
                "an applied record would set these off: {found}. Where the other offices' databases do the same, it counts twice. \
                 Say side_effects = \"capture\" (what they change here is captured) or \"refuse\""
            ),
        ),
    }
}

/// `sent` and `acked` change no other column.
fn write_back(build: &mut Build<'_>) {
    let config = build.config;
    let shape = build.shape;
    let named = [("sent", &config.sent), ("acked", &config.acked)];
    let mut is_any = false;
    for (setting, name) in named {
        let Some(column) = name.as_ref().and_then(|name| shape.column(name)) else { continue };
        is_any = true;
        let is_time = matches!(column.kind, ColumnType::DateTime { .. });
        if column.is_generated {
            build.refuse(
                &column.name,
                format!("the database computes it, so it cannot be the {setting} column"),
            );
        } else if is_time && !column.is_nullable {
            build.refuse(
                &column.name,
                format!("a time that says {setting} must be NULL until then: make it nullable"),
            );
        } else if !is_time && !is_flag(&column.kind, &column.declared) {
            let why = format!(
                "{} is neither a time nor a boolean, so it cannot say {setting}",
                column.declared
            );
            build.refuse(&column.name, why);
        }
    }
    if config.sent.is_some() && config.sent == config.acked {
        build.refuse("acked", "sent and acked are the same column");
    }
    if config.acked.is_some() && config.acked_by.is_none() {
        build.refuse("acked_by", "say acked_by = \"SITE\" with the office whose receipt counts");
    }
    if !is_any {
        return;
    }
    if !config.mode.captures() {
        build.refuse(
            "sent",
            "sent and acked are of rows that are captured, and this table is only applied",
        );
    }
    let is_at_fault = |event: &str| event.to_ascii_uppercase().contains("UPDATE");
    let triggers = shape.triggers.iter().filter(|trigger| trigger.is_enabled);
    let triggers: Vec<String> = triggers
        .filter(|trigger| is_at_fault(&trigger.event))
        .map(|trigger| format!("{} ({})", trigger.name, trigger.event))
        .collect();
    if !triggers.is_empty() {
        build.refuse(
            "sent",
            format!(
                "writing sent or acked back would set off triggers of the application, which may change other columns: {}. Leave \
                 both out; `receipts` and `bridge status` say the same",
                triggers.join(", ")
            ),
        );
    }
}

/// Whether a column says yes or no.
pub(super) fn is_flag(kind: &ColumnType, declared: &str) -> bool {
    match kind {
        ColumnType::Boolean => true,
        ColumnType::Integer { .. } => declared.to_ascii_lowercase().starts_with("tinyint(1)"),
        _ => false,
    }
}

/// Checks that a field can be called so.
pub(super) fn field_name(name: &str) -> Result<(), String> {
    let fault = match name {
        "" => "is empty",
        _ if name.len() > FIELD_NAME_BYTES_MAX => "is too long",
        _ if name.starts_with('_') => "begins with _, which is reserved",
        _ if name.starts_with("$serde_json::private::") => "is reserved",
        _ if name.contains('.') => "has a point, which separates the names of a path",
        _ if name.chars().any(char::is_control) => "has a control character",
        _ => return Ok(()),
    };
    Err(format!("no field can be called {name:?}: it {fault}"))
}
