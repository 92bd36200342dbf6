//! What a bridge installs in a database: two tables, and triggers that note which rows changed.
//!
//! A trigger notes the key and nothing else, so every change of the table but one of its key leaves it working. What
//! could fail in it is handled in it, since the application would fail with it: where the outbox is gone it does nothing;
//! where a column of the key is gone it notes that the whole table has to be looked at.
//!
//! Foreign keys change rows without triggers in MariaDB. A trigger on the parent notes the children before it goes.

use super::cascade;
use super::text::{key_text, name, quoted};
use crate::sql::shape::Bound;

/// The context row.
pub(super) const CONTEXT: &str = "branchline_context";
/// The notes.
pub(super) const OUTBOX: &str = "branchline_outbox";
/// What all triggers of a bridge are called by.
pub(super) const PREFIX: &str = "branchline_";
/// The server and database that a session is on.
pub(super) const SERVER: &str = "CONCAT(@@hostname, ':', @@port, '/', DATABASE())";

/// A trigger as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MariadbTrigger {
    /// The number of the table whose rows it notes.
    pub(super) number: u32,
    pub(super) name: String,
    /// The table that it stands on.
    pub(super) table: String,
    pub(super) timing: &'static str,
    pub(super) event: &'static str,
    pub(super) body: String,
}

impl MariadbTrigger {
    /// The statement that makes it, in the place of one of its name on the same table.
    pub(super) fn create(&self) -> String {
        format!(
            "CREATE OR REPLACE TRIGGER {} {} {} ON {} FOR EACH ROW {}",
            name(&self.name),
            self.timing,
            self.event,
            name(&self.table),
            self.body
        )
    }

    /// The statement that removes it.
    pub(super) fn drop(&self) -> String {
        format!("DROP TRIGGER IF EXISTS {}", name(&self.name))
    }
}

/// The statements that make the tables and the context row; repeating them changes nothing.
pub(super) fn tables() -> Vec<String> {
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {CONTEXT} (
  one         TINYINT NOT NULL PRIMARY KEY DEFAULT 1 CHECK (one = 1),
  epoch       CHAR(36) NOT NULL,
  server      VARCHAR(200) NOT NULL,
  generation  BIGINT NOT NULL DEFAULT 0,
  applied     BIGINT NOT NULL DEFAULT 0,
  lease_site  VARCHAR(200),
  lease_token VARCHAR(100),
  lease_until DATETIME(6),
  identities  TEXT NOT NULL DEFAULT '{{}}'
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {OUTBOX} (
  id  BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  tbl INT NOT NULL,
  op  CHAR(1) NOT NULL,
  k   TEXT
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        ),
        format!(
            "INSERT INTO {CONTEXT} (epoch, server) SELECT UUID(), {SERVER} FROM DUAL \
             WHERE NOT EXISTS (SELECT 1 FROM {CONTEXT})"
        ),
    ]
}

/// The statements that remove the tables.
pub(super) fn drop_tables() -> Vec<String> {
    [OUTBOX, CONTEXT].map(|table| format!("DROP TABLE IF EXISTS {table}")).to_vec()
}

/// The triggers of these tables, each once.
pub(super) fn triggers(tables: &[Bound]) -> Vec<MariadbTrigger> {
    tables.iter().filter(|table| table.is_captured).flat_map(of_table).collect()
}

/// The triggers by which rows of one table are noted: on the table, and on those whose cascades reach it.
pub(super) fn of_table(table: &Bound) -> Vec<MariadbTrigger> {
    let number = table.number;
    let trigger = |letter: &str, event: &'static str, notes: String| MariadbTrigger {
        number,
        name: format!("{PREFIX}{number}_{letter}"),
        table: table.table.name.clone(),
        timing: "AFTER",
        event,
        body: body(
            number,
            &format!("IF NOT (@branchline_apply <=> {number}) THEN\n{notes}\n  END IF;"),
        ),
    };
    let (old, new) = (key(table, "OLD"), key(table, "NEW"));
    let is_same: Vec<String> = table
        .key_columns()
        .map(|column| format!("OLD.{0} <=> NEW.{0}", name(&column.name)))
        .collect();
    // By the text as well: a collation may call two keys the same.
    let is_same = format!("{} AND {old} <=> {new}", is_same.join(" AND "));
    let insert = |values: String| format!("INSERT INTO {OUTBOX} (tbl, op, k) VALUES {values};");
    let update = format!(
        "    IF {is_same} THEN\n      {}\n    ELSE\n      {}\n    END IF;",
        insert(format!("({number}, 'U', {new})")),
        insert(format!("({number}, 'D', {old}), ({number}, 'U', {new})")),
    );
    let mut triggers = vec![
        trigger("i", "INSERT", format!("    {}", insert(format!("({number}, 'I', {new})")))),
        trigger("d", "DELETE", format!("    {}", insert(format!("({number}, 'D', {old})")))),
        trigger("u", "UPDATE", update),
    ];
    triggers.extend(cascade::triggers(table));
    triggers
}

/// A trigger's body: nothing in it makes the application's statement fail.
pub(super) fn body(number: u32, statements: &str) -> String {
    format!(
        "BEGIN
  DECLARE CONTINUE HANDLER FOR 1146 BEGIN END;
  DECLARE CONTINUE HANDLER FOR 1054 BEGIN
    DECLARE CONTINUE HANDLER FOR 1146 BEGIN END;
    INSERT INTO {OUTBOX} (tbl, op) VALUES ({number}, 'T');
  END;
  {statements}
END"
    )
}

/// The key of a row as a note has it. `row`: `OLD`, `NEW` or an alias.
pub(super) fn key(table: &Bound, row: &str) -> String {
    let texts: Vec<String> = table
        .key_columns()
        .map(|column| key_text(column, &format!("{row}.{}", name(&column.name))))
        .collect();
    match &texts[..] {
        [one] => one.clone(),
        several => format!("JSON_ARRAY({})", several.join(", ")),
    }
}

/// All that is installed, in order: the triggers come last, since each statement is committed by itself.
pub(super) fn install(tables: &[Bound]) -> Vec<String> {
    self::tables().into_iter().chain(triggers(tables).iter().map(MariadbTrigger::create)).collect()
}

/// All that is removed, triggers first.
pub(super) fn remove(tables: &[Bound]) -> Vec<String> {
    let triggers = tables.iter().flat_map(of_table);
    triggers.map(|trigger| trigger.drop()).chain(drop_tables()).collect()
}

/// The rights of the bridge's user. `user`: as `CURRENT_USER()` has it.
pub(super) fn grants(database: &str, user: &str, tables: &[Bound]) -> Vec<String> {
    let user = grantee(user);
    let grant = |rights: &str, table: &str| {
        format!("GRANT {rights} ON {}.{} TO {user}", name(database), name(table))
    };
    let mut grants = vec![
        grant("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP", CONTEXT),
        grant("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP", OUTBOX),
    ];
    for table in tables {
        grants.push(grant("SELECT, INSERT, UPDATE, DELETE, TRIGGER", &table.table.name));
    }
    for trigger in triggers(tables) {
        let grant = grant("SELECT, TRIGGER", &trigger.table);
        let is_named = tables.iter().any(|table| table.table.name == trigger.table);
        if !is_named && !grants.contains(&grant) {
            grants.push(grant);
        }
    }
    // With it TRUNCATE is noticed, which fires no trigger; without it, by `bridge verify` alone.
    grants.push(format!("GRANT PROCESS ON *.* TO {user}"));
    grants
}

/// A user of `CURRENT_USER()` as `GRANT` takes it.
pub(super) fn grantee(user: &str) -> String {
    let (user, host) = user.rsplit_once('@').unwrap_or((user, "%"));
    format!("{}@{}", quoted(user), quoted(host))
}
