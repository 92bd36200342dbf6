//! What a bridge would do, for a person to read before it does: column by column, the SQL that would be installed, the
//! rights that it needs, how it is removed again, and every refusal by name. Nothing is changed by it.

mod text;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::codec::FieldKind;
use super::config::{BridgeConfig, Mode, TableConfig};
use super::database::Engine;
use super::mapping::{Line, Mapped, Mapping, Refusal, map_as};
use super::shape::{Bound, TableShape};
use crate::jobs::duration;

/// What a bridge would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The bridge.
    pub bridge: String,
    /// The kind of database.
    pub database: String,
    /// The space of the collections.
    pub space: String,
    /// The site's name, for which `{site}` stands. It is fixed when the bridge is installed.
    pub site: String,
    /// The tables.
    pub tables: Vec<TablePlan>,
    /// The statements that `bridge install` runs, in order; empty where something is refused.
    pub install: Vec<String>,
    /// The rights that the bridge's user needs, as statements for the database's administrator.
    pub grants: Vec<String>,
    /// What the node's service has to be allowed, as a systemd drop-in.
    pub drop_in: Option<String>,
    /// The statements that remove all of it, for a database whose node is gone.
    pub remove: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why the bridge cannot be installed so, with what to do.
    pub refusals: Vec<String>,
}

/// What a bridge would do with one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// The table.
    pub table: String,
    /// The collection.
    pub collection: String,
    /// `capture`, `apply` or `both`.
    pub mode: Mode,
    /// How records are called; `None` where it is refused.
    pub record_id: Option<String>,
    /// Its columns.
    pub columns: Vec<Line>,
    /// The schema that the collection needs, as `schema apply` takes it; `None` where something is refused.
    pub schema: Option<Json>,
}

/// What the database's own side of a plan is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// [`Database::install_sql`](super::database::Database::install_sql).
    pub install: Vec<String>,
    /// [`Database::grants`](super::database::Database::grants).
    pub grants: Vec<String>,
    /// [`Database::remove_sql`](super::database::Database::remove_sql).
    pub remove: Vec<String>,
}

/// What was found out about a bridge's surroundings.
#[derive(Clone, Debug, Default)]
pub struct SurroundingsFound {
    /// For each table of the configuration its number in the bridge and its shape; `None`: the database has no such table.
    pub tables: Vec<(u32, Option<TableShape>)>,
    /// The kinds that collections' schemas declare already, by collection and field.
    pub declared: BTreeMap<String, BTreeMap<String, FieldKind>>,
    /// Why no bridge can work on the database: [`Database::judge`](super::database::Database::judge).
    pub refusals: Vec<String>,
    /// What a person should know of the database.
    pub warnings: Vec<String>,
    /// The group of a SQLite file, where the node's user needs it.
    pub group: Option<String>,
}

impl Plan {
    /// Puts together what is configured and what was found. `statements` gives the SQL for the tables.
    pub fn of(
        config: &BridgeConfig,
        engine: Engine,
        site: &str,
        found: SurroundingsFound,
        statements: impl FnOnce(&[Bound]) -> Statements,
    ) -> Self {
        let mut plan = Self {
            bridge: config.name.clone(),
            database: engine_name(engine).to_owned(),
            space: config.space.clone(),
            site: site.to_owned(),
            tables: Vec::new(),
            install: Vec::new(),
            grants: Vec::new(),
            drop_in: drop_in(config, engine, found.group.as_deref()),
            remove: Vec::new(),
            warnings: found.warnings,
            refusals: found.refusals,
        };
        plan.refusals.extend(wrong_settings(config));
        let mut mappings = Vec::new();
        let undeclared = BTreeMap::new();
        for (table, (number, shape)) in config.tables.iter().zip(&found.tables) {
            let Some(shape) = shape else {
                plan.refuse(
                    &table.table,
                    "the database has no such table, or the bridge's user may not see it",
                );
                continue;
            };
            let declared = found.declared.get(&table.collection).unwrap_or(&undeclared);
            let mapped = map_as(table, shape, engine, site, *number, declared);
            mappings.extend(plan.table(table, shape, mapped));
        }
        plan.refusals.extend(contradictions(&mappings));
        if plan.is_possible() {
            let bounds: Vec<Bound> = mappings.into_iter().map(|mapping| mapping.bound).collect();
            let Statements { install, grants, remove } = statements(&bounds);
            plan.install = install;
            plan.grants = grants;
            plan.remove = remove;
        }
        plan
    }

    /// Whether the bridge can be installed so.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.refusals.is_empty()
    }

    fn refuse(&mut self, table: &str, why: &str) {
        self.refusals.push(format!("{table}: {why}"));
    }

    fn table(
        &mut self,
        config: &TableConfig,
        shape: &TableShape,
        mapped: Mapped,
    ) -> Option<Mapping> {
        let Mapped { mapping, lines, refusals, warnings } = mapped;
        let name = shape.name.to_string();
        let said = |Refusal { what, why }: Refusal| {
            if what == name { format!("{name}: {why}") } else { format!("{name}, {what}: {why}") }
        };
        self.refusals.extend(refusals.into_iter().map(said));
        self.warnings.extend(warnings.into_iter().map(|warning| format!("{name}: {warning}")));
        self.tables.push(TablePlan {
            table: name,
            collection: config.collection.clone(),
            mode: config.mode,
            record_id: mapping.as_ref().map(|mapping| mapping.template.to_string()),
            columns: lines,
            schema: mapping.as_ref().map(Mapping::schema),
        });
        mapping
    }
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "PostgreSQL",
        Engine::MariaDb => "MariaDB",
        Engine::Sqlite => "SQLite",
    }
}

/// What is wrong with a bridge's own settings.
#[must_use]
pub fn wrong_settings(config: &BridgeConfig) -> Vec<String> {
    let mut refusals = Vec::new();
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    if config.name.is_empty() || !config.name.chars().all(is_plain) {
        refusals.push(format!(
            "name: {:?} is no name of a bridge, expected lower-case letters, digits, - and _",
            config.name
        ));
    }
    if let Err(why) = duration::parse(&config.poll) {
        refusals.push(format!("poll: {why}"));
    }
    if config.tables.is_empty() {
        refusals.push("table: the bridge has no tables, add a [[bridge.table]]".to_owned());
    }
    refusals
}

/// What the tables of one bridge say that cannot be true of both.
#[must_use]
pub fn contradictions(mappings: &[Mapping]) -> Vec<String> {
    let mut refusals = Vec::new();
    let mut kinds: BTreeMap<(&str, String), (FieldKind, String)> = BTreeMap::new();
    for (n, mapping) in mappings.iter().enumerate() {
        let table = mapping.bound.table.to_string();
        if mappings.iter().take(n).any(|other| other.bound.table == mapping.bound.table) {
            refusals
                .push(format!("{table}: the table is there twice; one of its rows is one record"));
        }
        for (field, kind) in mapping.kinds() {
            let declared = (mapping.collection.as_str(), field.clone());
            match kinds.get(&declared) {
                Some((other, of)) if *other != kind => refusals.push(format!(
                    "{table}: the field {field} of {} would be of the kind {kind}, and of the kind {other} by {of}: say kind in one of them",
                    mapping.collection
                )),
                Some(_) => {}
                None => {
                    kinds.insert(declared, (kind, table.clone()));
                }
            }
        }
    }
    refusals
}

/// What the service of `branchline.service` is not allowed by itself.
fn drop_in(config: &BridgeConfig, engine: Engine, group: Option<&str>) -> Option<String> {
    let mut lines = Vec::new();
    if let (Engine::Sqlite, Some(path)) = (engine, config.url.strip_prefix("sqlite:")) {
        let path = path.strip_prefix("//").unwrap_or(path);
        let folder = Path::new(path.split('?').next().unwrap_or(path)).parent();
        let folder = folder.filter(|folder| folder.is_absolute());
        if let Some(folder) = folder.filter(|folder| !folder.starts_with("/var/lib/branchline")) {
            lines.push(
                "# SQLite keeps files beside the database (-wal, -shm, -journal).".to_owned(),
            );
            lines.push(format!("ReadWritePaths={}", folder.display()));
            if ["/home", "/root", "/run/user"].iter().any(|home| folder.starts_with(home)) {
                lines.push("ProtectHome=no".to_owned());
            }
            if folder.starts_with("/tmp") || folder.starts_with("/var/tmp") {
                lines.push("PrivateTmp=no".to_owned());
            }
        }
        lines.extend(group.map(|group| format!("SupplementaryGroups={group}")));
    }
    let is_secret = |(_, behind): (&str, &str)| !behind.starts_with("file:");
    if config.url.split_once("${").is_some_and(is_secret) {
        lines.push(
            "# A file of root's with mode 0600 that says NAME=VALUE for what the url asks for."
                .to_owned(),
        );
        lines.push(format!("EnvironmentFile=/etc/branchline/{}.env", config.name));
    }
    if lines.is_empty() {
        return None;
    }
    Some(format!("[Service]\n{}\n", lines.join("\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sql::shape::{ColumnShape, ColumnType, TableName};

    fn column(name: &str, is_numbered: bool) -> ColumnShape {
        ColumnShape {
            name: name.to_owned(),
            declared: "bigint".to_owned(),
            kind: ColumnType::Integer { min: i64::MIN.into(), max: i64::MAX.into() },
            is_nullable: false,
            has_default: is_numbered,
            is_generated: false,
            is_numbered,
            is_identity_always: false,
            key_trap: None,
        }
    }

    fn shape(name: &str) -> TableShape {
        TableShape {
            name: TableName { schema: Some("public".to_owned()), name: name.to_owned() },
            columns: vec![column("id", true), column("qty", false)],
            primary_key: vec!["id".to_owned()],
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            triggers: Vec::new(),
            refusals: Vec::new(),
            warnings: vec!["FOR ALL TABLES".to_owned()],
        }
    }

    fn config(url: &str, more: &str) -> BridgeConfig {
        let text = format!(
            r#"
            name = "till"
            url = "{url}"
            [[table]]
            table = "sales"
            collection = "sales"
            mode = "capture"
            record_id = "{{site}}-{{id}}"
            [table.fields]
            qty = {{ kind = "counter" }}
            office = {{ constant = "{{site}}" }}
            {more}
            "#
        );
        toml::from_str(&text).unwrap()
    }

    fn statements(tables: &[Bound]) -> Statements {
        Statements {
            install: tables
                .iter()
                .map(|table| format!("CREATE TRIGGER t ON {};\n", table.table))
                .collect(),
            grants: vec!["GRANT SELECT ON sales TO till".to_owned()],
            remove: vec!["DROP TRIGGER t".to_owned()],
        }
    }

    #[test]
    fn a_plan_shows_columns_statements_rights_and_removal() {
        let found = SurroundingsFound {
            tables: vec![(1, Some(shape("sales")))],
            ..SurroundingsFound::default()
        };
        let config = config("postgres://till@127.0.0.1/shop", "");
        let plan = Plan::of(&config, Engine::Postgres, "north", found, statements);
        assert!(plan.is_possible());
        let expected = r#"bridge till: PostgreSQL, space main, site north

table public.sales to collection sales, records {site}-{id}
  COLUMN  TYPE    FIELD   KIND     NOTE
  id      bigint  id      integer  key: numbered by the database; primary key
  qty     bigint  qty     counter  counter: changes of all offices add up
  -       -       office  string   constant: always "north"
  schema: {"sales":{"id":"integer","office":"string","qty":"counter"}}

To know:
  public.sales: FOR ALL TABLES

-- The rights that the bridge's user needs:
GRANT SELECT ON sales TO till;

-- What `bridge install` runs:
CREATE TRIGGER t ON public.sales;

-- How it is removed, if the node is gone (else: `bridge remove`):
DROP TRIGGER t;
"#;
        assert_eq!(plan.to_string(), expected);
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }

    #[test]
    fn every_refusal_is_there_and_then_nothing_is_installed() {
        let more = r#"
            [[table]]
            table = "sales"
            collection = "sales"
            mode = "both"
            [[table]]
            table = "nowhere"
            collection = "nowhere"
            mode = "apply"
        "#;
        let mut config = config("postgres://till@127.0.0.1/shop", more);
        config.name = "Till".to_owned();
        config.poll = "100".to_owned();
        let tables = vec![(1, Some(shape("sales"))), (2, Some(shape("sales"))), (3, None)];
        let found = SurroundingsFound {
            tables,
            refusals: vec!["the encoding is SQL_ASCII".to_owned()],
            ..SurroundingsFound::default()
        };
        let plan = Plan::of(&config, Engine::Postgres, "north", found, statements);
        let said = [
            "SQL_ASCII",
            "name: \"Till\"",
            "poll: \"100\"",
            "public.sales, id: ",
            "nowhere: the database has no",
        ];
        let all = plan.refusals.join("\n");
        assert!(said.iter().all(|said| all.contains(said)), "{all}");
        assert!(plan.install.is_empty() && plan.remove.is_empty());
        assert!(plan.to_string().ends_with("Nothing can be installed so.\n"));
    }

    #[test]
    fn tables_of_one_collection_agree_on_its_kinds() {
        let more = "[[table]]\n table = \"old\"\n collection = \"sales\"\n mode = \"capture\"\n record_id = \"{site}-{id}\"";
        let tables = vec![(1, Some(shape("sales"))), (2, Some(shape("old")))];
        let found = SurroundingsFound { tables, ..SurroundingsFound::default() };
        let config = config("postgres://till@127.0.0.1/shop", more);
        let plan = Plan::of(&config, Engine::Postgres, "north", found, statements);
        assert!(
            matches!(&plan.refusals[..], [only] if only.contains("qty of sales would be of the kind integer, and of the kind counter")),
            "{:?}",
            plan.refusals
        );
    }

    #[test]
    fn a_service_is_let_at_what_it_needs() {
        let of = |url: &str, engine, group| drop_in(&config(url, ""), engine, group);
        assert_eq!(of("postgres://till@127.0.0.1/shop", Engine::Postgres, None), None);
        assert_eq!(of("sqlite:/var/lib/branchline/x/shop.db", Engine::Sqlite, None), None);
        let home = of("sqlite:/home/till/shop.db?mode=rw", Engine::Sqlite, Some("till")).unwrap();
        assert!(
            home.contains("ReadWritePaths=/home/till\nProtectHome=no\nSupplementaryGroups=till\n"),
            "{home}"
        );
        let secret = of("mysql://till:${TILL}@db/shop", Engine::MariaDb, None).unwrap();
        assert!(secret.contains("EnvironmentFile=/etc/branchline/till.env"));
        assert_eq!(of("mysql://till:${file:/etc/x}@db/shop", Engine::MariaDb, None), None);
    }
}
