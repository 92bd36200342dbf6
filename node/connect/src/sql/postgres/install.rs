//! What is installed in the database, as SQL.
//!
//! The triggers note the row's key and nothing else, so that no change of the table but one of its key concerns them.
//! Their functions run with the rights of the bridge's role and with a fixed search path: the application needs no right
//! on the outbox and cannot divert the notes, and the workers of logical replication, which have no search path, find it.

use crate::sql::shape::{Bound, ColumnShape, ColumnType, TableName};

use super::arguments::is_bytes;
use super::statement::{literal, note_key, quote, table};

/// The context row's table.
pub(super) const CONTEXT: &str = "branchline_context";
/// The notes' table.
pub(super) const OUTBOX: &str = "branchline_outbox";
/// The trigger that notes rows.
pub(super) const NOTE: &str = "branchline_note";
/// The trigger that notes that a table was truncated.
pub(super) const TRUNCATE: &str = "branchline_truncate";

/// The server and database as a text: another cluster, another time line (restored to a point in time, promoted) and
/// another database of the cluster differ.
pub(super) const SERVER: &str = "(SELECT s.system_identifier || '/' || \
     substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) || '/' || d.oid \
     FROM pg_control_system() s, pg_database d WHERE d.datname = current_database())";

/// A name in the bridge's schema.
pub(super) fn own(home: &str, name: &str) -> String {
    table(&TableName { schema: Some(home.to_owned()), name: name.to_owned() })
}

/// The name of a table's function.
pub(super) fn function_name(number: u32, is_truncate: bool) -> String {
    if is_truncate {
        format!("branchline_note_{number}_truncate")
    } else {
        format!("branchline_note_{number}")
    }
}

/// Context and outbox, for the bridge's role. Repeatable.
pub(super) fn base(home: &str, user: &str) -> Vec<String> {
    let (context, outbox) = (own(home, CONTEXT), own(home, OUTBOX));
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {context} (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  epoch       text    NOT NULL DEFAULT gen_random_uuid()::text,
  server      text    NOT NULL,
  generation  bigint  NOT NULL DEFAULT 0,
  applied     bigint  NOT NULL DEFAULT 0,
  lease_site  text,
  lease_token text,
  lease_until timestamptz
)"
        ),
        format!(
            "INSERT INTO {context} (server) SELECT {SERVER} WHERE NOT EXISTS (SELECT FROM {context})"
        ),
        // No sequence: `lastval()` stays the application's own.
        format!(
            "CREATE TABLE IF NOT EXISTS {outbox} (
  xid xid8    NOT NULL DEFAULT pg_current_xact_id(),
  tbl integer NOT NULL,
  op  \"char\"  NOT NULL,
  key text
)"
        ),
        format!("CREATE INDEX IF NOT EXISTS branchline_outbox_xid ON {outbox} (xid)"),
        // Else notes could not be deleted where a publication takes all tables.
        format!("ALTER TABLE {outbox} REPLICA IDENTITY FULL"),
        // It is emptied all the time: cleaned by the number of dead rows, whatever its size.
        format!(
            "ALTER TABLE {outbox} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, \
             autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000)"
        ),
        // Of use where the tables' owner runs this instead of the bridge.
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {context}, {outbox} TO {}", quote(user)),
        format!("COMMENT ON TABLE {context} IS {}", literal(COMMENT)),
        format!("COMMENT ON TABLE {outbox} IS {}", literal(COMMENT)),
    ]
}

const COMMENT: &str = "Of a Branchline bridge. Remove with: branchline bridge remove, or the script that branchline \
     bridge plan prints (triggers first: an application cannot write with the outbox gone).";

/// A table's functions and triggers. Repeatable within a transaction.
pub(super) fn for_table(home: &str, bound: &Bound) -> Vec<String> {
    let (name, number) = (table(&bound.table), bound.number);
    let mut sql = Vec::new();
    for (is_truncate, trigger, event) in [
        (false, NOTE, "AFTER INSERT OR UPDATE OR DELETE ON"),
        (true, TRUNCATE, "AFTER TRUNCATE ON"),
    ] {
        let function = own(home, &function_name(number, is_truncate));
        let body = if is_truncate { truncate_body(home, number) } else { note_body(home, bound) };
        let settings: String =
            settings(bound).iter().map(|(name, value)| format!(" SET {name} = {value}")).collect();
        let each = if is_truncate { "STATEMENT" } else { "ROW" };
        sql.push(format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER{settings} \
             AS {}",
            dollar_quoted(&body)
        ));
        // The right is asked for where a trigger is made, not where it fires.
        sql.push(format!("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"));
        sql.push(format!("DROP TRIGGER IF EXISTS {trigger} ON {name}"));
        sql.push(format!(
            "CREATE TRIGGER {trigger} {event} {name} FOR EACH {each} EXECUTE FUNCTION {function}()"
        ));
        // Also for rows that logical replication brings.
        sql.push(format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger}"));
        sql.push(format!("COMMENT ON TRIGGER {trigger} ON {name} IS {}", literal(COMMENT)));
    }
    sql
}

/// A text as SQL that a person can read.
fn dollar_quoted(text: &str) -> String {
    let mut tag = "$branchline$".to_owned();
    while text.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("{tag}{text}{tag}")
}

/// The settings of a table's functions, as `SET` takes them.
pub(super) fn settings(bound: &Bound) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![("search_path", "pg_catalog, pg_temp")];
    // The others cost a little more per row.
    if !bound.key_columns().all(is_plain) {
        settings.extend([
            ("TimeZone", "'UTC'"),
            ("DateStyle", "'ISO, YMD'"),
            ("IntervalStyle", "'iso_8601'"),
            ("bytea_output", "'hex'"),
            ("extra_float_digits", "1"),
        ]);
    }
    settings
}

/// Whether a column's text is the same whatever the application's session has set.
fn is_plain(column: &ColumnShape) -> bool {
    match column.kind {
        ColumnType::Integer { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Boolean
        | ColumnType::Text { .. }
        | ColumnType::Bytes { .. }
        | ColumnType::Uuid
        | ColumnType::Json { .. }
        | ColumnType::Enum { .. } => true,
        ColumnType::Float { .. }
        | ColumnType::DateTime { .. }
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Set { .. }
        | ColumnType::Loose
        | ColumnType::Other
        | ColumnType::Refused { .. } => false,
    }
}

/// The function of a table's row trigger.
///
/// The key is read within a block of its own, since an application's migration can take the key's column away, rename it
/// or change its type (a session that has called the function before then fails with "type of parameter does not match
/// that when preparing the plan"): the application must go on writing. The block writes nothing, so that it costs no
/// transaction id. What is noted after such a change is the key as JSON has it, or else the table as a whole.
pub(super) fn note_body(home: &str, bound: &Bound) -> String {
    let (outbox, number) = (own(home, OUTBOX), bound.number);
    let texts = |record: &str, of: fn(&str, &ColumnShape) -> String| {
        note_key(&bound.key_columns().map(|column| of(record, column)).collect::<Vec<_>>())
    };
    let (old, new) = (texts("OLD", text), texts("NEW", text));
    let (old_changed, new_changed) = (texts("OLD", text_of_changed), texts("NEW", text_of_changed));
    // By the table's number, and not within the application's triggers: what those change is the application's.
    let guard = if bound.cascades_to_itself {
        String::new()
    } else {
        format!(
            "
  IF current_setting('branchline.apply', true) = '{number}' AND pg_trigger_depth() = 1 THEN
    RETURN NULL;
  END IF;"
        )
    };
    format!(
        "
DECLARE
  old_key text; new_key text; is_changed boolean := false;
BEGIN{guard}
  BEGIN
    IF TG_OP <> 'INSERT' THEN old_key := {old}; END IF;
    IF TG_OP <> 'DELETE' THEN new_key := {new}; END IF;
  EXCEPTION WHEN OTHERS THEN
    is_changed := true;
    IF TG_OP <> 'INSERT' THEN old_key := {old_changed}; END IF;
    IF TG_OP <> 'DELETE' THEN new_key := {new_changed}; END IF;
  END;
  IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND old_key COLLATE \"C\" IS DISTINCT FROM new_key THEN
    INSERT INTO {outbox} (tbl, op, key)
    VALUES ({number}, CASE WHEN is_changed AND old_key IS NULL THEN 'T' ELSE 'D' END, old_key);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    INSERT INTO {outbox} (tbl, op, key)
    VALUES ({number}, (CASE WHEN is_changed AND new_key IS NULL THEN 'T' ELSE left(TG_OP, 1) END)::\"char\", new_key);
  END IF;
  RETURN NULL;
END "
    )
}

/// A column of a record as keys have it.
fn text(record: &str, column: &ColumnShape) -> String {
    let name = quote(&column.name);
    match column.kind {
        ColumnType::Bytes { .. } => format!("encode({record}.{name}, 'hex')"),
        _ => format!("{record}.{name}::text"),
    }
}

/// The same of a table that is not as it was: NULL where the column is gone, or its text would differ.
fn text_of_changed(record: &str, column: &ColumnShape) -> String {
    let value = format!("to_jsonb({record}) ->> {}", literal(&column.name));
    match column.kind {
        ColumnType::Text { is_padded: true, .. } => format!("rtrim({value})"),
        _ if is_plain(column) && !is_bytes(column) => format!("({value})"),
        _ => "NULL::text".to_owned(),
    }
}

/// The function of a table's truncate trigger.
pub(super) fn truncate_body(home: &str, number: u32) -> String {
    let outbox = own(home, OUTBOX);
    format!(
        "
BEGIN
  INSERT INTO {outbox} (tbl, op) VALUES ({number}, 'T');
  RETURN NULL;
END "
    )
}

/// Removes a table's triggers and functions, and its notes.
pub(super) fn remove_table(home: &str, bound: &Bound) -> Vec<String> {
    let (name, number) = (table(&bound.table), bound.number);
    let mut sql = vec![
        format!("DROP TRIGGER IF EXISTS {NOTE} ON {name}"),
        format!("DROP TRIGGER IF EXISTS {TRUNCATE} ON {name}"),
    ];
    sql.extend(drop_functions(home, number));
    sql
}

/// Drops a table's functions, and their triggers on whatever table they have come to by renaming.
pub(super) fn drop_functions(home: &str, number: u32) -> Vec<String> {
    let drop = |is_truncate| {
        format!(
            "DROP FUNCTION IF EXISTS {}() CASCADE",
            own(home, &function_name(number, is_truncate))
        )
    };
    vec![drop(false), drop(true)]
}

/// Drops outbox and context.
pub(super) fn remove_base(home: &str) -> Vec<String> {
    vec![format!("DROP TABLE IF EXISTS {}, {}", own(home, OUTBOX), own(home, CONTEXT))]
}
