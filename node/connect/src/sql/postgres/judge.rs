//! What of a server, a database and a role keeps a bridge from working, and what a person should know.

use std::collections::BTreeSet;

use sqlx::Row as _;

use crate::sql::database::DbError;
use crate::sql::shape::Bound;

use super::Postgres;
use super::arguments::Arguments;
use super::catalogue::get;
use super::error::of;
use super::install::CONTEXT;
use super::session::PostgresSession;
use super::statement::{quote, table};

const FACTS: &str = "\
SELECT current_setting('server_version_num')::integer AS version, current_setting('server_version') AS version_text,
  current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_standby,
  current_setting('fsync') = 'off' AS may_corrupt,
  current_setting('is_superuser') = 'on' AS is_superuser,
  (SELECT string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'branchline_context' AND c.relkind = 'r'
    HAVING count(*) > 1) AS homes,
  (SELECT string_agg(quote_ident(pubname), ', ' ORDER BY pubname) FROM pg_publication WHERE puballtables) AS publications,
  has_function_privilege('pg_control_system()', 'EXECUTE') AS knows_server,
  has_schema_privilege($1::text, 'CREATE') AS may_create";

impl Postgres {
    /// Refusals and warnings.
    pub(super) async fn judge_all(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
        if self.home.is_none() {
            refusals.push(self.no_home());
        }
        let home = self.home_or_public().to_owned();
        let mut arguments = Arguments::default();
        // A schema that is not there has no rights; asking for them would be an error.
        let known = self.home.as_deref().unwrap_or("pg_catalog").to_owned();
        arguments.text(&known)?;
        let Some(row) = self.session.one(FACTS.to_owned(), arguments).await? else {
            return Ok((refusals, warnings));
        };
        let (user, version) = (self.user.clone(), get::<i32>(&row, "version")?);
        if version < 130_000 {
            let version: String = get(&row, "version_text")?;
            refusals.push(format!("PostgreSQL {version} is too old: 13 or newer is needed"));
        }
        match &*get::<String>(&row, "encoding")? {
            "UTF8" => {}
            "SQL_ASCII" => refusals.push(
                "the database has the encoding SQL_ASCII, so that nobody knows what its texts mean: \
                 dump it, and restore it into a database with ENCODING 'UTF8'"
                    .to_owned(),
            ),
            encoding => warnings.push(format!(
                "the database has the encoding {encoding}: records with other characters are set aside when they are applied"
            )),
        }
        if get(&row, "is_standby")? {
            refusals.push(
                "the server is a standby, which can only be read: bridge its primary".to_owned(),
            );
        }
        if get(&row, "may_corrupt")? {
            warnings
                .push("fsync is off: a crash of the server can lose or corrupt rows".to_owned());
        }
        if let Some(homes) = get::<Option<String>>(&row, "homes")? {
            refusals.push(format!(
                "there are several tables branchline_context, in the schemas {homes}: a database has one bridge; \
                 remove the others with the script of bridge plan"
            ));
        }
        if let Some(publications) = get::<Option<String>>(&row, "publications")? {
            warnings.push(format!(
                "the publication {publications} is FOR ALL TABLES, the bridge's own tables included: \
                 list its tables instead, so that its subscribers need none of branchline's"
            ));
        }
        if get(&row, "is_superuser")? {
            warnings.push(format!("{user} is a superuser; a role with the rights below is enough"));
        }
        if !get::<bool>(&row, "knows_server")? {
            refusals.push(format!(
                "{user} may not ask which server this is, so that a copy could not be distinguished from it: \
                 GRANT EXECUTE ON FUNCTION pg_control_system() TO {user}"
            ));
        }
        let is_installed = self.has_own(CONTEXT).await?;
        if self.home.is_some() && !is_installed && !get::<bool>(&row, "may_create")? {
            refusals.push(format!(
                "{user} may not create tables in the schema {home}: GRANT USAGE, CREATE ON SCHEMA {} TO {}",
                quote(&home),
                quote(&user)
            ));
        }
        if self.is_pooled().await? {
            refusals.push(
                "there is a connection pooler between that gives every transaction another server process \
                 (PgBouncer's pool_mode = transaction): connect to the server itself, or in pool_mode = session"
                    .to_owned(),
            );
        }
        Ok((refusals, warnings))
    }

    /// Whether this connection is another server process while someone else is in a transaction.
    async fn is_pooled(&mut self) -> Result<bool, DbError> {
        let before = process(&mut self.session).await?;
        let mut other = self.session.another().await?;
        other.is_open = true;
        other.run("BEGIN; SELECT 1".to_owned()).await?;
        let after = process(&mut self.session).await;
        other.roll_back().await;
        other.close().await;
        Ok(before != after?)
    }

    /// The rights that the bridge's role needs.
    pub(super) fn grant_list(&self, tables: &[Bound]) -> Vec<String> {
        let user = quote(&self.user);
        let mut grants = vec![
            format!("GRANT CONNECT ON DATABASE {} TO {user}", quote(&self.database)),
            format!("GRANT USAGE, CREATE ON SCHEMA {} TO {user}", quote(self.home_or_public())),
        ];
        let schemas: BTreeSet<&String> =
            tables.iter().filter_map(|bound| bound.table.schema.as_ref()).collect();
        for schema in schemas.into_iter().filter(|schema| *schema != self.home_or_public()) {
            grants.push(format!("GRANT USAGE ON SCHEMA {} TO {user}", quote(schema)));
        }
        for bound in tables {
            let name = table(&bound.table);
            grants.push(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {user}"));
        }
        // Triggers that fire always, and for rows of logical replication too, are the owner's to make.
        let owners: BTreeSet<&String> = tables
            .iter()
            .filter(|bound| bound.is_captured)
            .filter_map(|bound| self.owners.get(&bound.table))
            .filter(|owner| **owner != self.user)
            .collect();
        grants.extend(owners.into_iter().map(|owner| format!("GRANT {} TO {user}", quote(owner))));
        grants
    }
}

/// The server process at the other end.
async fn process(session: &mut PostgresSession) -> Result<i32, DbError> {
    let sql = "SELECT pg_backend_pid()".to_owned();
    let row = session.one(sql, Arguments::default()).await?;
    row.map_or(Ok(0), |row| row.try_get(0)).map_err(|error| of(&error))
}
