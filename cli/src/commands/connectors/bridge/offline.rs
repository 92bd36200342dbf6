//! What is reported of a bridge from the configuration and the database alone: `plan` and `remove --sql`.

use std::path::Path;

use branchline_connect::configured;
use branchline_connect::sql::bridges::{BridgeNotReady, DeclaredKinds};
use branchline_connect::sql::config::BridgeConfig;
use branchline_connect::sql::database::{DbError, DbErrorClass};
use branchline_connect::sql::survey;
use branchline_node::site::{SiteError, SiteFolder};
use branchline_node::{Config, Overrides};
use serde_json::{Map, Value};

use crate::args::Global;
use crate::client::{Client, encoded};
use crate::error::{CliError, text_of};
use crate::extensions::extensions;
use crate::output;

/// The folder of the bridges' states within the data folder.
const FOLDER: &str = "connect";
/// What stands for the site's name where there is no site yet.
const NO_SITE: &str = "this-site";

/// Shows what a bridge would do; fails where something is refused.
pub(crate) async fn plan(global: &Global, name: &str, file: Option<&Path>) -> Result<(), CliError> {
    let (config, bridge) = find(global, name, file)?;
    let site = match SiteFolder::new(&config.data).site() {
        Ok(site) => site.name,
        Err(SiteError::NoSite { .. }) => {
            let data = config.data.display();
            output::note(format_args!("{data} holds no site yet: {NO_SITE:?} stands for its name"));
            NO_SITE.to_owned()
        }
        Err(error) => return Err(error.into()),
    };
    let declared = declared(&config, &bridge).await;
    let plan = survey::plan(&bridge, &config.data.join(FOLDER), &site, declared).await;
    let plan = plan.map_err(|error| unreachable_database(name, &error))?;
    if global.json {
        output::json(&plan)?
    } else {
        output::lines(plan.to_string().trim_end())?
    }
    if plan.is_possible() { Ok(()) } else { Err(CliError::reported()) }
}

/// What the running node knows of the collections' schemas; nothing where none runs.
async fn declared(config: &Config, bridge: &BridgeConfig) -> DeclaredKinds {
    let mut declared = DeclaredKinds::new();
    let Ok(Some(client)) = Client::connect_running(&config.data).await else { return declared };
    let client = client.in_space((bridge.space != "main").then(|| bridge.space.clone()));
    for table in &bridge.tables {
        let path = format!("/v1/schemas/{}", encoded(&table.collection));
        let Ok(fields) = client.get::<Map<String, Value>>(&path).await else { continue };
        let kind = |value: &Value| value.as_str()?.split_whitespace().next()?.parse().ok();
        let kinds = fields.iter().filter_map(|(field, value)| Some((field.clone(), kind(value)?)));
        declared.insert(table.collection.clone(), kinds.collect());
    }
    client.close().await;
    declared
}

/// Prints the SQL that removes a bridge from its database.
pub(crate) async fn remove_sql(
    global: &Global,
    name: &str,
    file: Option<&Path>,
) -> Result<(), CliError> {
    let (config, bridge) = find(global, name, file)?;
    let statements = survey::remove_sql(&bridge, &config.data.join(FOLDER)).await;
    let statements = statements.map_err(|error| unreachable_database(name, &error))?;
    if global.json {
        return output::json(&statements);
    }
    statements.iter().try_for_each(|sql| {
        output::lines(format_args!("{};", sql.trim_end().trim_end_matches(';')))
    })
}

fn find(
    global: &Global,
    name: &str,
    file: Option<&Path>,
) -> Result<(Config, BridgeConfig), CliError> {
    let config = Config::load_with(&global.data, file, Overrides::default(), &extensions())?;
    let bridges = configured(&config)?;
    let known: Vec<_> = bridges.iter().map(|bridge| bridge.name.clone()).collect();
    let Some(bridge) = bridges.into_iter().find(|bridge| bridge.name == name) else {
        let path = config.sections.path().display();
        let known = if known.is_empty() {
            "it has no [[bridge]]".to_owned()
        } else {
            format!("it has {}", known.join(", "))
        };
        return Err(CliError::failed(format!("there is no bridge {name:?} in {path}: {known}"))
            .hint("name another file with --config FILE, or another folder with --data DIR"));
    };
    for extension in extensions() {
        extension.check(&config)?;
    }
    Ok((config, bridge))
}

fn unreachable_database(name: &str, error: &BridgeNotReady) -> CliError {
    let is_refused =
        matches!(error, BridgeNotReady::Database(DbError { class: DbErrorClass::Config, .. }));
    let hint = if is_refused {
        "the bridge's user has to be let in, and to see the tables, before anything can be planned"
    } else {
        "see that the database runs, and that url and password_file are right"
    };
    CliError::failed(format!("bridge {name}: {}", text_of(error))).hint(hint)
}
