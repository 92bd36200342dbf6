//! The context row: epoch, generation, position and lease.

use std::time::{Duration, Instant};

use super::error::plain;
use super::install::{CONTEXT, OUTBOX, SERVER};
use super::session::{MariadbSession, Parameter, SessionState, text, text_or_empty};
use crate::sql::database::{Context, DbError, DbErrorClass, Lease};

/// Notes that are counted.
const COUNTED_MAX: u32 = 1_000_000;

/// Reads it; `None`: there is none.
pub(super) async fn read(session: &mut MariadbSession) -> Result<Option<Context>, DbError> {
    let sql = format!(
        "SELECT epoch, server, {SERVER}, CAST(generation AS CHAR), CAST(applied AS CHAR), lease_site, lease_token, \
         CAST(IFNULL(lease_until < UTC_TIMESTAMP(6), 1) AS CHAR) FROM {CONTEXT}"
    );
    let rows = match session.query(sql, Vec::new()).await {
        Err(error) if error.code == "1146" => return Ok(None),
        answer => answer?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let lease = match text(row, 6)? {
        Some(token) => Some(Lease {
            site: text_or_empty(row, 5)?,
            token,
            is_expired: text_or_empty(row, 7)? == "1",
        }),
        None => None,
    };
    Ok(Some(Context {
        epoch: text_or_empty(row, 0)?,
        server: text_or_empty(row, 1)?,
        server_now: text_or_empty(row, 2)?,
        generation: number(text(row, 3)?)?,
        applied: number(text(row, 4)?)?,
        lease,
    }))
}

fn number(text: Option<String>) -> Result<i64, DbError> {
    let Some(text) = text else {
        return Err(plain(
            DbErrorClass::Config,
            format!("{CONTEXT} has no row: run bridge install"),
        ));
    };
    text.parse()
        .map_err(|_| plain(DbErrorClass::Bug, format!("{CONTEXT} holds {text:?}, no number")))
}

/// Takes or renews the lease.
pub(super) async fn take_lease(
    session: &mut MariadbSession,
    site: &str,
    token: &str,
    lifetime: Duration,
    is_forced: bool,
) -> Result<bool, DbError> {
    let micros = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
    let sql = format!(
        "UPDATE {CONTEXT} SET lease_site = ?, lease_token = ?, \
         lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND \
         WHERE ? = 1 OR lease_token IS NULL OR lease_token = ? OR lease_until IS NULL OR lease_until < UTC_TIMESTAMP(6)"
    );
    let parameters: Vec<Parameter> =
        vec![site.into(), token.into(), micros.into(), i64::from(is_forced).into(), token.into()];
    Ok(session.run(sql, parameters).await? == 1)
}

/// Another epoch, the server as it is now, and this generation.
pub(super) async fn adopt(
    session: &mut MariadbSession,
    epoch: &str,
    generation: i64,
) -> Result<(), DbError> {
    let sql = format!("UPDATE {CONTEXT} SET epoch = ?, generation = ?, server = {SERVER}");
    let met = session.run(sql, vec![epoch.into(), generation.into()]).await?;
    if met == 1 {
        return Ok(());
    }
    Err(plain(DbErrorClass::Config, format!("{CONTEXT} has no row: run bridge install")))
}

/// The position, once no earlier connection holds the row.
pub(super) async fn settled(
    session: &mut MariadbSession,
    patience: Duration,
) -> Result<i64, DbError> {
    let until = Instant::now() + patience;
    loop {
        // Each wait of its own is as long as any statement waits for a lock.
        let sql = format!("SELECT CAST(applied AS CHAR) FROM {CONTEXT} FOR UPDATE");
        match session.value(sql, Vec::new()).await {
            Err(error) if error.code == "1205" && Instant::now() < until => {}
            answer => return number(answer?),
        }
    }
}

/// Begins a write of the token's holder.
pub(super) async fn begin_write(
    session: &mut MariadbSession,
    token: &str,
    generation: i64,
    applied: Option<i64>,
) -> Result<bool, DbError> {
    if session.state != SessionState::Idle {
        return Err(plain(DbErrorClass::Bug, "a transaction is open already"));
    }
    session.state = SessionState::Writing;
    session.raw("START TRANSACTION").await?;
    let set = if applied.is_some() { ", applied = ?" } else { "" };
    let sql = format!(
        "UPDATE {CONTEXT} SET generation = generation + 1{set} WHERE lease_token = ? AND generation = ?"
    );
    let mut parameters: Vec<Parameter> = Vec::new();
    parameters.extend(applied.map(Parameter::from));
    parameters.extend([token.into(), generation.into()]);
    let is_ours = session.run(sql, parameters).await? == 1;
    if !is_ours {
        session.roll_back().await;
    }
    Ok(is_ours)
}

/// Whether there are notes.
pub(super) async fn has_notes(session: &mut MariadbSession) -> Result<bool, DbError> {
    let sql = format!("SELECT '1' FROM {OUTBOX} ORDER BY id LIMIT 1");
    Ok(session.value(sql, Vec::new()).await?.is_some())
}

/// How many there are.
pub(super) async fn notes_waiting(session: &mut MariadbSession) -> Result<u64, DbError> {
    let sql = format!(
        "SELECT CAST(COUNT(*) AS CHAR) FROM (SELECT 1 FROM {OUTBOX} LIMIT {COUNTED_MAX}) AS counted"
    );
    let count = number(session.value(sql, Vec::new()).await?)?;
    Ok(u64::try_from(count).unwrap_or_default())
}
