//! The context row: epoch, server, generation, position and lease.

use std::time::Duration;

use sqlx::Row as _;

use crate::sql::database::{Context, DbError, DbErrorClass, Lease};

use super::Postgres;
use super::arguments::Arguments;
use super::catalogue::get;
use super::error::{of, without_code};
use super::install::{CONTEXT, SERVER, own};

impl Postgres {
    /// Finds who the bridge is, and where its own tables are or would be made.
    pub(super) async fn look_around(&mut self) -> Result<(), DbError> {
        let sql = "SELECT current_user::text AS user, current_database()::text AS database, \
             coalesce((SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relname = 'branchline_context' AND c.relkind = 'r' AND has_table_privilege(c.oid, 'UPDATE') \
               ORDER BY n.nspname <> current_schema(), n.nspname LIMIT 1), current_schema()::text) AS home";
        let row = self.session.one(sql.to_owned(), Arguments::default()).await?;
        if let Some(row) = row {
            self.user = get(&row, "user")?;
            self.database = get(&row, "database")?;
            self.home = get(&row, "home")?;
        }
        Ok(())
    }

    /// The schema of the bridge's own tables.
    pub(super) fn home(&self) -> Result<&str, DbError> {
        self.home.as_deref().ok_or_else(|| without_code(DbErrorClass::Config, self.no_home()))
    }

    /// The same for texts that are only shown.
    pub(super) fn home_or_public(&self) -> &str {
        self.home.as_deref().unwrap_or("public")
    }

    /// Why there is no schema.
    pub(super) fn no_home(&self) -> String {
        let user = &self.user;
        format!(
            "no schema of the search path of {user} exists: CREATE SCHEMA branchline AUTHORIZATION {user}; \
             ALTER ROLE {user} SET search_path = branchline, public"
        )
    }

    /// Whether one of the bridge's own tables is there.
    pub(super) async fn has_own(&mut self, name: &str) -> Result<bool, DbError> {
        let Some(home) = &self.home else { return Ok(false) };
        let mut arguments = Arguments::default();
        let name = arguments.text(&own(home, name))?;
        let sql = format!("SELECT to_regclass({name}) IS NOT NULL");
        let row = self.session.one(sql, arguments).await?;
        row.map_or(Ok(false), |row| row.try_get(0)).map_err(|error| of(&error))
    }

    /// The context row, if there is one.
    pub(super) async fn read_context(&mut self) -> Result<Option<Context>, DbError> {
        if !self.has_own(CONTEXT).await? {
            return Ok(None);
        }
        let sql = format!(
            "SELECT epoch, server, generation, applied, {SERVER} AS server_now, lease_site, lease_token, \
             coalesce(lease_until < clock_timestamp(), true) AS is_expired FROM {}",
            own(self.home()?, CONTEXT)
        );
        let Some(row) = self.session.one(sql, Arguments::default()).await? else { return Ok(None) };
        let site: Option<String> = get(&row, "lease_site")?;
        let token: Option<String> = get(&row, "lease_token")?;
        let is_expired = get(&row, "is_expired")?;
        Ok(Some(Context {
            epoch: get(&row, "epoch")?,
            server: get(&row, "server")?,
            server_now: get(&row, "server_now")?,
            generation: get(&row, "generation")?,
            applied: get(&row, "applied")?,
            lease: site.zip(token).map(|(site, token)| Lease { site, token, is_expired }),
        }))
    }

    /// Takes or renews the lease.
    pub(super) async fn lease(
        &mut self,
        site: &str,
        token: &str,
        lifetime: Duration,
        is_forced: bool,
    ) -> Result<bool, DbError> {
        let mut arguments = Arguments::default();
        let site = arguments.text(site)?;
        let token = arguments.text(token)?;
        let millis = arguments.number(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))?;
        let forced = arguments.flag(is_forced)?;
        let sql = format!(
            "UPDATE {} SET lease_site = {site}, lease_token = {token}, \
             lease_until = clock_timestamp() + {millis} * interval '1 millisecond' \
             WHERE {forced} OR lease_token IS NULL OR lease_token = {token} OR lease_until IS NULL \
             OR lease_until < clock_timestamp()",
            own(self.home()?, CONTEXT)
        );
        Ok(self.session.count(sql, arguments).await? == 1)
    }

    /// Makes the database, as it is now, the one that the node knows.
    pub(super) async fn adopt_as(&mut self, epoch: &str, generation: i64) -> Result<(), DbError> {
        let mut arguments = Arguments::default();
        let epoch = arguments.text(epoch)?;
        let generation = arguments.number(generation)?;
        let sql = format!(
            "UPDATE {} SET epoch = {epoch}, generation = {generation}, server = {SERVER}",
            own(self.home()?, CONTEXT)
        );
        match self.session.count(sql, arguments).await? {
            1 => Ok(()),
            _ => Err(self.no_context()),
        }
    }

    /// The position, once no earlier commit can be under way.
    pub(super) async fn settled_within(&mut self, patience: Duration) -> Result<i64, DbError> {
        self.session.roll_back().await;
        // The server takes at most an `int4`, and 0 for "for ever".
        let millis = patience.as_millis().clamp(1, 3_600_000);
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {millis}; \
             SET LOCAL statement_timeout = {}",
            millis + 1_000
        );
        let sql = format!("SELECT applied FROM {} FOR UPDATE", own(self.home()?, CONTEXT));
        self.session.is_open = true;
        let read = match self.session.run(begin).await {
            Ok(()) => self.session.one(sql, Arguments::default()).await,
            Err(error) => Err(error),
        };
        self.session.roll_back().await;
        let row = read?.ok_or_else(|| self.no_context())?;
        get(&row, "applied")
    }

    fn no_context(&self) -> DbError {
        let message =
            format!("{} has no row: run bridge install", own(self.home_or_public(), CONTEXT));
        without_code(DbErrorClass::Config, message)
    }
}
