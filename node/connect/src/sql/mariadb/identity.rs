//! Which table it is. TRUNCATE fires no trigger and changes nothing that can be seen of a table but the number that InnoDB
//! has for it; so it is with partitions that are emptied or exchanged. Some ALTERs change it as well: then the table is
//! compared with what the node knows for nothing.
//!
//! The numbers stand in the context row since the last install, so that a TRUNCATE is seen that came while the node was
//! down. Reading them takes the right PROCESS.

use std::collections::{BTreeMap, BTreeSet};

use super::install::CONTEXT;
use super::session::{MariadbSession, text_or_empty};
use super::text::quoted;
use crate::sql::database::DbError;
use crate::sql::shape::Bound;

/// By table number: InnoDB's numbers of the table, or of its partitions.
type Identities = BTreeMap<u32, String>;

/// Whether the user may see them.
pub(super) async fn is_seen(session: &mut MariadbSession) -> Result<bool, DbError> {
    let sql = "SELECT '1' FROM information_schema.innodb_sys_tables LIMIT 1";
    match session.value(sql, Vec::new()).await {
        Err(error) if error.code == "1227" => Ok(false),
        answer => answer.map(|found| found.is_some()),
    }
}

/// The identities as they are; none where they are not seen.
pub(super) async fn now(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<Identities, DbError> {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut conditions = Vec::new();
    for table in tables.iter().filter(|table| table.is_captured) {
        let (Some(database), Some(name)) = (file_name(database), file_name(&table.table.name))
        else {
            continue;
        };
        let name = format!("{database}/{name}");
        let partition = format!("{name}#");
        conditions.push(format!(
            "name = {} OR LEFT(name, {}) = {}",
            quoted(&name),
            partition.len(),
            quoted(&partition)
        ));
        numbers.insert(name, table.number);
    }
    if conditions.is_empty() {
        return Ok(Identities::new());
    }
    let sql = format!(
        "SELECT name, CAST(table_id AS CHAR) FROM information_schema.innodb_sys_tables WHERE {} ORDER BY name",
        conditions.join(" OR ")
    );
    let rows = match session.query(sql, Vec::new()).await {
        Err(error) if error.code == "1227" => return Ok(Identities::new()),
        answer => answer?,
    };
    let mut identities = Identities::new();
    for row in &rows {
        let name = text_or_empty(row, 0)?;
        let table = name.split('#').next().unwrap_or_default();
        if let Some(number) = numbers.get(table) {
            let identity = identities.entry(*number).or_default();
            if !identity.is_empty() {
                identity.push(' ');
            }
            identity.push_str(&text_or_empty(row, 1)?);
        }
    }
    Ok(identities)
}

/// Writes down the identities of tables that have just been installed.
pub(super) async fn keep(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<(), DbError> {
    let mut kept = kept(session).await?;
    let before = kept.clone();
    kept.extend(now(session, database, tables).await?);
    if kept == before {
        return Ok(());
    }
    let json = serde_json::to_string(&kept).unwrap_or_default();
    let sql = format!("UPDATE {CONTEXT} SET identities = ?");
    session.run(sql, vec![json.into()]).await.map(|_| ())
}

/// The numbers of tables that are others than were installed.
pub(super) async fn others(
    session: &mut MariadbSession,
    database: &str,
    tables: &[Bound],
) -> Result<BTreeSet<u32>, DbError> {
    let now = now(session, database, tables).await?;
    if now.is_empty() {
        return Ok(BTreeSet::new());
    }
    let kept = kept(session).await?;
    let is_other = |(number, identity): &(&u32, &String)| {
        kept.get(number).is_some_and(|kept| kept != *identity)
    };
    Ok(now.iter().filter(is_other).map(|(number, _)| *number).collect())
}

async fn kept(session: &mut MariadbSession) -> Result<Identities, DbError> {
    let sql = format!("SELECT identities FROM {CONTEXT}");
    let json = match session.value(sql, Vec::new()).await {
        Err(error) if error.code == "1146" => None,
        answer => answer?,
    };
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

/// A name as InnoDB has it: `a b` is `a@0020b`. `None` where MariaDB has codes of its own for letters.
fn file_name(name: &str) -> Option<String> {
    let mut file = String::new();
    for character in name.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => file.push(character),
            other if other.is_ascii() => file.push_str(&format!("@{:04x}", u32::from(other))),
            _ => return None,
        }
    }
    Some(file)
}
