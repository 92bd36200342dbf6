//! Tables as PostgreSQL's catalogue has them.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::sql::database::{DbError, DbErrorClass};
use crate::sql::shape::{
    Charset, ColumnShape, ForeignKey, TableName, TableShape, TriggerShape, UniqueIndex,
};

use super::Postgres;
use super::arguments::Arguments;
use super::error::{of, without_code};
use super::types::{PostgresDeclared, key_trap, kind};

/// A value of a row of the catalogue.
pub(super) fn get<'r, T>(row: &'r PgRow, column: &str) -> Result<T, DbError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(|error| of(&error))
}

/// A table's own row of the catalogue, by its name.
const TABLE: &str = "\
SELECT c.oid::text AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
  c.relpersistence::text AS persistence, c.relispartition AS is_partition,
  row_security_active(c.oid) AS hides_rows,
  pg_get_userbyid(c.relowner)::text AS owner, pg_has_role(c.relowner, 'USAGE') AS is_owner,
  has_table_privilege(c.oid, 'SELECT') AS may_read,
  c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS has_heirs,
  EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS has_rules,
  EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate) AS defers_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN unnest(current_schemas(true)) WITH ORDINALITY AS p(schema, place) ON p.schema = n.nspname
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')";

/// A table's columns. A domain is taken for the type below it, and its rules hold all the same.
const COLUMNS: &str = "\
WITH RECURSIVE base(attnum, type, modifier, not_null, has_default) AS (
  SELECT a.attnum, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef FROM pg_attribute a
  WHERE a.attrelid = $1::text::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, t.typbasetype, t.typtypmod, b.not_null OR t.typnotnull, b.has_default OR t.typdefault IS NOT NULL
  FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
)
SELECT a.attname::text AS name, t.typname::text AS type, n.nspname = 'pg_catalog' AS is_builtin,
  t.typtype::text AS class, b.modifier AS modifier, b.not_null AS not_null, b.has_default AS has_default,
  CASE WHEN n.nspname = 'pg_catalog' THEN format_type(t.oid, b.modifier)
    ELSE quote_ident(n.nspname) || '.' || quote_ident(t.typname) END AS declared,
  a.attidentity::text AS identity, a.attgenerated::text AS generated,
  pg_get_expr(d.adbin, d.adrelid) AS default_value,
  CASE WHEN NOT l.collisdeterministic THEN l.collname::text END AS loose_collation,
  (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels
FROM base b JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd' JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_attribute a ON a.attrelid = $1::text::oid AND a.attnum = b.attnum
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
ORDER BY a.attnum";

const INDEXES: &str = "\
SELECT c.relname::text AS name, i.indisprimary AS is_primary,
  i.indexprs IS NULL AND i.indpred IS NULL AND i.indisvalid AS is_plain,
  (SELECT coalesce(array_agg(a.attname::text ORDER BY k.place), '{}')
    FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.place <= i.indnkeyatts) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::text::oid AND i.indisunique ORDER BY c.relname";

/// The foreign keys of a table, and of those further up by whose cascades its rows change.
const FOREIGN_KEYS: &str = "\
WITH RECURSIVE above(relation) AS (
  SELECT $1::text::oid
  UNION
  SELECT f.confrelid FROM above a JOIN pg_constraint f ON f.conrelid = a.relation
  WHERE f.contype = 'f' AND f.conparentid = 0 AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
)
SELECT f.conname::text AS name, fn.nspname::text AS from_schema, fc.relname::text AS from_name,
  tn.nspname::text AS to_schema, tc.relname::text AS to_name,
  f.confdeltype::text AS on_delete, f.confupdtype::text AS on_update,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum) AS from_columns,
  (SELECT array_agg(a.attname::text ORDER BY k.place) FROM unnest(f.confkey) WITH ORDINALITY AS k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum) AS to_columns
FROM pg_constraint f
JOIN pg_class fc ON fc.oid = f.conrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
JOIN pg_class tc ON tc.oid = f.confrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0
AND (f.conrelid IN (SELECT relation FROM above) OR f.confrelid = $1::text::oid)
ORDER BY f.conrelid <> $1::text::oid, f.confrelid <> $1::text::oid, f.conname";

const TRIGGERS: &str = "\
SELECT t.tgname::text AS name, t.tgtype::integer AS bits, t.tgenabled::text AS enabled
FROM pg_trigger t WHERE t.tgrelid = $1::text::oid AND NOT t.tgisinternal
AND t.tgname NOT IN ('branchline_note', 'branchline_truncate') ORDER BY t.tgname";

impl Postgres {
    /// A table by the name that the configuration has.
    pub(super) async fn find_shape(&mut self, name: &str) -> Result<Option<TableShape>, DbError> {
        // The whole as a name along the search path, then as a schema and a name in it.
        let mut arguments = Arguments::default();
        let name = arguments.text(name)?;
        let sql = format!(
            "{TABLE} AND (p.place IS NOT NULL AND c.relname = {name}::text \
             OR n.nspname || '.' || c.relname = {name}::text) ORDER BY p.place NULLS LAST LIMIT 1"
        );
        let Some(row) = self.session.one(sql, arguments).await? else { return Ok(None) };
        let oid: String = get(&row, "oid")?;
        let name = TableName { schema: Some(get(&row, "schema")?), name: get(&row, "name")? };
        let owner: String = get(&row, "owner")?;
        self.owners.insert(name.clone(), owner.clone());
        let (refusals, mut warnings) = concerns(&row, &name, &owner, &self.user)?;

        let charset = self.charset().await?;
        let rows = self.session.all(COLUMNS.to_owned(), oid_of(&oid)?).await?;
        let columns = rows.iter().map(|row| column(row, charset)).collect::<Result<Vec<_>, _>>()?;
        let (mut primary_key, mut unique) = (Vec::new(), Vec::new());
        for row in self.session.all(INDEXES.to_owned(), oid_of(&oid)?).await? {
            let columns: Vec<String> = get(&row, "columns")?;
            if get(&row, "is_primary")? {
                primary_key = columns;
            } else {
                unique.push(UniqueIndex {
                    name: get(&row, "name")?,
                    columns,
                    is_plain: get(&row, "is_plain")?,
                });
            }
        }
        if get::<String>(&row, "kind")? == "p" {
            warnings.push(
                "it is partitioned: rows of a partition that is attached, detached or truncated by itself are not noted; \
                 run bridge verify after it"
                    .to_owned(),
            );
        }
        let rows = self.session.all(FOREIGN_KEYS.to_owned(), oid_of(&oid)?).await?;
        let foreign_keys = rows.iter().map(foreign_key).collect::<Result<_, _>>()?;
        let rows = self.session.all(TRIGGERS.to_owned(), oid_of(&oid)?).await?;
        let triggers = rows.iter().map(trigger).collect::<Result<_, _>>()?;
        Ok(Some(TableShape {
            name,
            columns,
            primary_key,
            unique,
            foreign_keys,
            triggers,
            refusals,
            warnings,
        }))
    }

    /// The characters that the database can hold.
    async fn charset(&mut self) -> Result<Charset, DbError> {
        let sql = "SELECT current_setting('server_encoding') AS encoding".to_owned();
        let row = self.session.one(sql, Arguments::default()).await?;
        let row =
            row.ok_or_else(|| without_code(DbErrorClass::Bug, "no row of no table".to_owned()))?;
        Ok(match &*get::<String>(&row, "encoding")? {
            "UTF8" => Charset::UnicodeWithoutNul,
            "LATIN1" => Charset::Latin1,
            // Others hold more than ASCII; which characters, only the server knows.
            "SQL_ASCII" => Charset::Ascii,
            _ => Charset::UnicodeWithoutNul,
        })
    }
}

fn oid_of(oid: &str) -> Result<Arguments, DbError> {
    let mut arguments = Arguments::default();
    arguments.text(oid)?;
    Ok(arguments)
}

/// Why no bridge can work on a table, and what a person should know of it.
fn concerns(
    row: &PgRow,
    name: &TableName,
    owner: &str,
    user: &str,
) -> Result<(Vec<String>, Vec<String>), DbError> {
    let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
    match &*get::<String>(row, "kind")? {
        "v" => {
            refusals.push("it is a view, whose rows no trigger sees: bridge its tables".to_owned())
        }
        "m" => refusals.push(
            "it is a materialised view, whose rows no trigger sees: bridge its tables".to_owned(),
        ),
        "f" => refusals.push(
            "it is a foreign table, whose rows change elsewhere: bridge it in its own database"
                .to_owned(),
        ),
        _ => {}
    }
    match &*get::<String>(row, "persistence")? {
        "u" => refusals.push(format!(
            "it is unlogged, so that a crash of the server empties it unseen: ALTER TABLE {name} SET LOGGED"
        )),
        "t" => refusals.push("it is temporary, so that only its own session sees it".to_owned()),
        _ => {}
    }
    if get(row, "is_partition")? {
        refusals.push("it is a partition: bridge the partitioned table".to_owned());
    }
    if get(row, "has_heirs")? {
        refusals.push(
            "tables inherit from it, whose rows it shows but whose changes its triggers do not see: \
             bridge those tables, or make it a partitioned table"
                .to_owned(),
        );
    }
    if get(row, "has_rules")? {
        refusals.push(
            "it has rules (CREATE RULE), which change what is written to it: make them triggers"
                .to_owned(),
        );
    }
    if get(row, "hides_rows")? {
        refusals.push(format!(
            "row security hides rows from {user}: ALTER ROLE {user} BYPASSRLS, or let it own the table"
        ));
    }
    if !get::<bool>(row, "may_read")? {
        refusals.push(format!("{user} may not read it: GRANT SELECT ON {name} TO {user}"));
    }
    if !get::<bool>(row, "is_owner")? {
        warnings.push(format!(
            "only its owner can install the triggers: GRANT {owner} TO {user}, or run the SQL of the plan as {owner}"
        ));
    }
    if get(row, "defers_key")? {
        warnings.push(
            "its primary key is DEFERRABLE: rows can be captured, but records cannot be applied to it; \
             make the key NOT DEFERRABLE for that"
                .to_owned(),
        );
    }
    Ok((refusals, warnings))
}

fn column(row: &PgRow, charset: Charset) -> Result<ColumnShape, DbError> {
    let declared = PostgresDeclared {
        name: get(row, "type")?,
        is_builtin: get(row, "is_builtin")?,
        class: get(row, "class")?,
        modifier: get(row, "modifier")?,
        labels: get::<Option<Vec<String>>>(row, "labels")?.unwrap_or_default(),
        charset,
        loose_collation: get(row, "loose_collation")?,
    };
    let identity: String = get(row, "identity")?;
    let default: Option<String> = get(row, "default_value")?;
    let is_generated = !get::<String>(row, "generated")?.is_empty();
    let kind = kind(&declared);
    Ok(ColumnShape {
        name: get(row, "name")?,
        declared: get(row, "declared")?,
        is_nullable: !get::<bool>(row, "not_null")?,
        has_default: !is_generated && (get(row, "has_default")? || !identity.is_empty()),
        is_generated,
        is_numbered: !identity.is_empty()
            || !is_generated && default.is_some_and(|default| default.starts_with("nextval(")),
        is_identity_always: identity == "a",
        key_trap: key_trap(&declared, &kind),
        kind,
    })
}

fn foreign_key(row: &PgRow) -> Result<ForeignKey, DbError> {
    let action = |column| {
        let action: String = get(row, column)?;
        let action = match &*action {
            "c" => "CASCADE",
            "n" => "SET NULL",
            "d" => "SET DEFAULT",
            "r" => "RESTRICT",
            _ => "NO ACTION",
        };
        Ok::<_, DbError>(action.to_owned())
    };
    let table = |schema, name| {
        Ok::<_, DbError>(TableName { schema: Some(get(row, schema)?), name: get(row, name)? })
    };
    Ok(ForeignKey {
        name: get(row, "name")?,
        from: table("from_schema", "from_name")?,
        from_columns: get(row, "from_columns")?,
        to: table("to_schema", "to_name")?,
        to_columns: get(row, "to_columns")?,
        on_delete: action("on_delete")?,
        on_update: action("on_update")?,
    })
}

fn trigger(row: &PgRow) -> Result<TriggerShape, DbError> {
    let bits: i32 = get(row, "bits")?;
    let when = match (bits & 2 != 0, bits & 64 != 0) {
        (true, _) => "BEFORE",
        (_, true) => "INSTEAD OF",
        _ => "AFTER",
    };
    let events = [(4, "INSERT"), (16, "UPDATE"), (8, "DELETE"), (32, "TRUNCATE")];
    let events = events.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, event)| *event);
    let enabled: String = get(row, "enabled")?;
    Ok(TriggerShape {
        name: get(row, "name")?,
        event: format!("{when} {}", events.collect::<Vec<_>>().join(" OR ")),
        // `R` fires for replication only, `D` never.
        is_enabled: matches!(&*enabled, "O" | "A"),
    })
}
