//! Looks at a database for a plan, and changes nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::bridges::{BridgeNotReady, DeclaredKinds, connect, numbers, state_file};
use super::config::BridgeConfig;
use super::database::{Database, Engine};
use super::mapping;
use super::plan::{Plan, Statements, SurroundingsFound};
use super::shape::{Bound, TableShape};
use super::state::BridgeState;

/// Where the machine's groups stand.
const GROUPS: &str = "/etc/group";

/// What a bridge would do. `folder` holds the bridges' states, if there are any; `site` is the site's name, and `declared`
/// what the collections' schemas have already.
///
/// # Errors
/// The database cannot be reached, or a secret is missing: then there is nothing to show.
pub async fn plan(
    config: &BridgeConfig,
    folder: &Path,
    site: &str,
    declared: DeclaredKinds,
) -> Result<Plan, BridgeNotReady> {
    let (installed_as, known) = known(config, folder).await?;
    let site = installed_as.as_deref().unwrap_or(site);
    let mut database = connect(config).await?;
    let (refusals, warnings) = database.judge().await?;
    let tables = shapes(config, database.as_mut(), &known).await?;
    let found = SurroundingsFound { tables, refusals, warnings, group: group(config), declared };
    let statements = |tables: &[Bound]| Statements {
        install: database.install_sql(tables),
        grants: database.grants(tables),
        remove: database.remove_sql(tables),
    };
    Ok(Plan::of(config, database.engine(), site, found, statements))
}

/// The statements that remove a bridge from its database, also where tables cannot be bridged any more as the
/// configuration has it.
///
/// # Errors
/// The database cannot be reached.
pub async fn remove_sql(
    config: &BridgeConfig,
    folder: &Path,
) -> Result<Vec<String>, BridgeNotReady> {
    let (site, known) = known(config, folder).await?;
    let mut database = connect(config).await?;
    let engine = database.engine();
    let site = site.unwrap_or_default();
    let mut bounds = Vec::new();
    for (table, (number, shape)) in
        config.tables.iter().zip(shapes(config, database.as_mut(), &known).await?)
    {
        let Some(shape) = shape else { continue };
        let mapped = mapping::map(table, &shape, engine, &site, number).into_result();
        bounds.push(mapped.map_or_else(|_| bare(&shape, number), |mapping| mapping.bound));
    }
    Ok(database.remove_sql(&bounds))
}

/// The site's name by which the bridge is installed, and the numbers of its tables.
async fn known(
    config: &BridgeConfig,
    folder: &Path,
) -> Result<(Option<String>, BTreeMap<String, u32>), BridgeNotReady> {
    let path = state_file(folder, &config.name);
    if !path.exists() {
        return Ok((None, BTreeMap::new()));
    }
    let mut state = BridgeState::open(path).await?;
    let site = state.progress().await?.site;
    let known = numbers(&mut state).await?;
    state.close().await;
    Ok((Some(site).filter(|site| !site.is_empty()), known))
}

async fn shapes(
    config: &BridgeConfig,
    database: &mut dyn Database,
    known: &BTreeMap<String, u32>,
) -> Result<Vec<(u32, Option<TableShape>)>, BridgeNotReady> {
    let mut next = known.values().max().map_or(1, |number| number + 1);
    let mut tables = Vec::new();
    for table in &config.tables {
        let shape = database.shape(&table.table).await?;
        let known = shape.as_ref().and_then(|shape| known.get(&shape.name.to_string()));
        let number = known.copied().unwrap_or(next);
        // As `bridges::bind` counts: tables that are not there have no number.
        if known.is_none() && shape.is_some() {
            next += 1;
        }
        tables.push((number, shape));
    }
    Ok(tables)
}

/// A table by its name and number alone: enough to remove what is installed for it.
fn bare(shape: &TableShape, number: u32) -> Bound {
    Bound {
        number,
        table: shape.name.clone(),
        columns: shape.columns.clone(),
        key: Vec::new(),
        filter: None,
        site: String::new(),
        unique: Vec::new(),
        is_captured: true,
        cascades_to_itself: false,
        silent_cascades: Vec::new(),
    }
}

/// The group of a SQLite file that belongs to another user than the one who asks.
fn group(config: &BridgeConfig) -> Option<String> {
    if super::bridges::engine(config).ok()? != Engine::Sqlite {
        return None;
    }
    let path = config.url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let file = std::fs::metadata(path.split('?').next().unwrap_or(path)).ok()?;
    let own = std::fs::metadata("/proc/self").ok()?;
    if file.uid() == own.uid() || file.mode() & 0o020 == 0 {
        return None;
    }
    let number = file.gid().to_string();
    let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
    let name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    Some(name.unwrap_or(number))
}
