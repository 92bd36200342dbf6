//! What is logged. A level alone is Branchline's own: libraries keep to what an operator needs unless they are named.

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// What the crates of Branchline begin with.
const OWN: &str = "branchline";
/// What the network's libraries warn of is what peers do wrong, a line for each message: peers could fill the disk with
/// it. Gossipsub calls some of it errors.
const QUIET: [(&str, &str); 6] = [
    ("libp2p", "error"),
    ("libp2p_gossipsub", "off"),
    ("multistream_select", "error"),
    ("yamux", "error"),
    ("quinn", "error"),
    ("hickory", "error"),
];

/// The filter of a setting.
pub(crate) fn log_filter(setting: &str) -> Result<EnvFilter, CliError> {
    EnvFilter::try_new(directives(setting)).map_err(|error| {
        CliError::usage(format!("the log filter {setting:?} is wrong: {error}"))
            .hint("for example --log info, or --log branchline_node=debug,warn")
    })
}

/// The setting as directives that say all of it.
fn directives(setting: &str) -> String {
    let parts: Vec<_> = setting.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let Some(level) = parts.iter().rev().find_map(|part| level(part)) else {
        return setting.to_owned();
    };
    let named = parts.iter().copied().filter(|part| self::level(part).is_none());
    let names: Vec<&str> = named.clone().map(target).collect();
    let of_libraries = if matches!(level, "off" | "error") { level } else { "warn" };
    let quiet = QUIET.iter().filter(|(library, _)| {
        level != "off" && !names.iter().any(|name| !name.is_empty() && library.starts_with(name))
    });
    let mut all = vec![of_libraries.to_owned(), format!("{OWN}={level}")];
    all.extend(quiet.map(|(library, level)| format!("{library}={level}")));
    all.extend(named.map(str::to_owned));
    all.join(",")
}

/// The level that a directive is, where it is no more than that.
fn level(directive: &str) -> Option<&'static str> {
    match directive.to_ascii_lowercase().as_str() {
        "off" | "0" => Some("off"),
        "error" | "1" => Some("error"),
        "warn" | "2" => Some("warn"),
        "info" | "3" => Some("info"),
        "debug" | "4" => Some("debug"),
        "trace" | "5" => Some("trace"),
        _ => None,
    }
}

/// What a directive is about.
fn target(directive: &str) -> &str {
    directive.split(['=', '[']).next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_opens_no_library() {
        for (setting, own) in [("info", "info"), ("DEBUG", "debug"), (" 5 ", "trace")] {
            let all = directives(setting);
            assert!(all.starts_with(&format!("warn,branchline={own},libp2p=error,")), "{all}");
            assert!(all.contains("libp2p_gossipsub=off"), "{all}");
        }
        assert_eq!(directives("off"), "off,branchline=off");
        assert!(directives("error").starts_with("error,branchline=error,"));
    }

    #[test]
    fn what_is_named_is_opened() {
        let all = directives("info,libp2p=debug,branchline_node=trace");
        assert!(all.ends_with("libp2p=debug,branchline_node=trace"), "{all}");
        assert!(!all.contains("libp2p=error") && !all.contains("gossipsub=off"), "{all}");
        let all = directives("libp2p_mdns=debug,info");
        assert!(all.contains("libp2p=error") && all.ends_with("libp2p_mdns=debug"), "{all}");
        assert_eq!(directives("branchline_node=debug"), "branchline_node=debug");
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for setting in ["info,libp2p=loud", "info,=", "a=b=c"] {
            let error = log_filter(setting).unwrap_err();
            assert!(error.message().contains(setting), "{setting}");
        }
        log_filter("info,libp2p=debug,[span]=trace").unwrap();
    }
}
