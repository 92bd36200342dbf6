//! `[[bridge]]` of `branchline.toml`: read as a whole, and refused by file, line, bridge and table.

use std::collections::BTreeMap;

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use serde::Deserialize;
use toml::Spanned;

use super::{last_before, name_of};
use crate::jobs::{duration, part};
use crate::sql::bridges::{engine, place};
use crate::sql::config::{BridgeConfig, TableConfig};

/// The section.
pub(in crate::extension) const BRIDGE: &str = "bridge";

/// The bridges, of which nothing is known but where they stand.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    bridge: Vec<Spanned<BridgePlace>>,
}

#[derive(Deserialize)]
struct BridgePlace {
    name: Option<toml::Value>,
    #[serde(default)]
    table: Vec<Spanned<TablePlace>>,
}

#[derive(Deserialize)]
struct TablePlace {
    table: Option<toml::Value>,
}

/// The bridges, as far as they can be read.
pub(in crate::extension) fn read(sections: &Sections) -> Result<Vec<BridgeConfig>, ConfigError> {
    Ok(spanned(sections)?.into_iter().map(Spanned::into_inner).collect())
}

fn spanned(sections: &Sections) -> Result<Vec<Spanned<BridgeConfig>>, ConfigError> {
    super::spanned(sections, BRIDGE, |error| named(sections, error))
}

/// The error, with the bridge and the table that it is about; `None`: it is not known.
fn named(sections: &Sections, error: &toml::de::Error) -> Option<ConfigError> {
    let place = error.span()?;
    let places: Places = sections.read(&[BRIDGE]).ok()?;
    let bridge = last_before(&places.bridge, &place)?;
    let table = last_before(&bridge.table, &place);
    let table = table.map(|table| format!(", table {}", name_of(&table.table)));
    let about = format!("bridge {}{}", name_of(&bridge.name), table.unwrap_or_default());
    Some(sections.refuse(place, format!("{about}: {}", error.message())))
}

/// Refuses bridges that cannot be, whatever the databases hold.
pub(in crate::extension) fn check(sections: &Sections) -> Result<(), ConfigError> {
    let mut names: Vec<String> = Vec::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for spanned in spanned(sections)? {
        let span = spanned.span();
        let config = spanned.into_inner();
        let name = config.name.clone();
        let refuse = |what: String| Err(sections.refuse(span.clone(), what));
        if let Err(what) = check_bridge(&config) {
            return refuse(format!("bridge {name}: {what}"));
        }
        if names.contains(&name) {
            return refuse(format!("there are two bridges called {name}: rename one of them"));
        }
        if let Some(other) = places.insert(place(&config), name.clone()) {
            return refuse(format!(
                "bridge {name} is on the database of bridge {other}: one bridge looks after a whole database, so give \
                 that one these tables too"
            ));
        }
        names.push(name);
    }
    Ok(())
}

fn check_bridge(config: &BridgeConfig) -> Result<(), String> {
    let BridgeConfig { name, poll, notify, tables, .. } = config;
    super::check_name(name)?;
    engine(config).map_err(|error| error.to_string())?;
    if holds_password(&config.url) {
        return Err("its url holds a password, which others could read here: put it into a file of its own \
            (password_file = \"PATH\") or into the node's environment (${NAME} in the url)"
            .to_owned());
    }
    duration::parse(poll).map_err(|error| format!("poll: {error}"))?;
    if *notify {
        return Err("notify: triggers cannot wake a bridge yet, expected false: a smaller poll (20ms) finds changes sooner"
            .to_owned());
    }
    if tables.is_empty() {
        return Err("it has no tables: add a [[bridge.table]]".to_owned());
    }
    for (n, table) in tables.iter().enumerate() {
        check_table(table).map_err(|what| format!("table {}: {what}", table.table))?;
        if tables.iter().take(n).any(|other| other.table == table.table) {
            return Err(format!("table {} is there twice", table.table));
        }
    }
    Ok(())
}

/// Whether a password stands in a URL itself.
fn holds_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or(rest);
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    password.is_some_and(|password| !password.is_empty() && !password.starts_with("${"))
}

fn check_table(table: &TableConfig) -> Result<(), String> {
    duration::parse(&table.ack_timeout).map_err(|error| format!("ack_timeout: {error}"))?;
    part::part(&table.mass_change).map_err(|error| format!("mass_change: {error}"))?;
    if table.collection.is_empty() {
        return Err("collection is empty".to_owned());
    }
    if table.acked.is_some() && table.acked_by.is_none() {
        return Err("acked is given without acked_by: say which site's receipt counts".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TILL: &str = "mdns = false\n\n[[bridge]]\nname = \"till\"\nurl = \"sqlite:/shop.db\"\n\
        [[bridge.table]]\ntable = \"sales\"\ncollection = \"sales\"\nmode = \"capture\"\n";

    fn refused(text: &str) -> String {
        check(&Sections::new("branchline.toml", text)).unwrap_err().to_string()
    }

    #[test]
    fn a_bridge_is_read_with_its_defaults() {
        let sections = Sections::new("branchline.toml", TILL);
        check(&sections).unwrap();
        let bridges = read(&sections).unwrap();
        let [bridge] = &bridges[..] else { panic!("{bridges:?}") };
        assert_eq!((bridge.name.as_str(), bridge.poll.as_str()), ("till", "100ms"));
        assert_eq!(bridge.tables.len(), 1);
        assert!(read(&Sections::default()).unwrap().is_empty());
    }

    #[test]
    fn secrets_are_named_and_never_written() {
        for (url, holds) in [
            ("postgres://till@db/shop", false),
            ("postgres://till:${TILL}@db/shop", false),
            ("postgres://till:${file:/etc/till}@db/shop", false),
            ("postgres://till:secret@db:5432/shop", true),
            ("postgres://db:5432/shop", false),
            ("sqlite:/a:b@c", false),
        ] {
            assert_eq!(holds_password(url), holds, "{url}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_line_bridge_and_table() {
        let error = refused(&format!("{TILL}colection = \"x\"\n"));
        for part in ["branchline.toml", "line 10", "bridge till, table sales", "colection"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error =
            refused(&format!("{TILL}[bridge.table.fields]\ncost = {{ kin = \"decimal\" }}\n"));
        assert!(error.contains("line 11") && error.contains("`kin`"), "{error}");
        let error = refused(&TILL.replace("[[bridge.table]]", "pol = \"1s\"\n[[bridge.table]]"));
        assert!(error.contains("line 6") && error.contains("bridge till: "), "{error}");
        assert!(error.contains("pol"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let other = TILL.replace("mdns = false", "").replace("name = \"till\"", "name = \"erp\"");
        for (text, part) in [
            (TILL.replace("\"till\"", "\"Till\""), "\"Till\""),
            (TILL.replace("sqlite:", "oracle:"), "oracle"),
            (TILL.replace("sqlite:/shop.db", "mysql://till:secret@db/shop"), "holds a password"),
            (
                TILL.replace("[[bridge.table]]", "poll = \"fast\"\n[[bridge.table]]"),
                "poll: \"fast\"",
            ),
            (TILL.replace("[[bridge.table]]", "notify = true\n[[bridge.table]]"), "notify: "),
            (format!("{TILL}ack_timeout = \"1\"\n"), "ack_timeout: \"1\""),
            (format!("{TILL}mass_change = \"much\"\n"), "mass_change"),
            (format!("{TILL}acked = \"acked_at\"\n"), "acked_by"),
            (format!("{TILL}{}", TILL.replace("mdns = false", "")), "two bridges called till"),
            (format!("{TILL}{other}"), "bridge erp is on the database of bridge till"),
        ] {
            let error = refused(&text);
            assert!(error.contains(part) && error.contains("bridge"), "{part}: {error}");
        }
    }
}
