//! Why no bridge can work on a database, and what a person should know of it.

use super::session::{MariadbSession, text_or_empty};
use crate::sql::database::DbError;

/// The oldest MariaDB: before it there is no `JSON_TABLE`.
const OLDEST: (u32, u32) = (10, 6);
/// The server has to take rows of this many bytes in one packet: see the pieces of writes.
const PACKET_BYTES_MIN: u64 = 8 << 20;

/// Refusals and warnings, each with what to do.
pub(super) async fn judge(
    session: &mut MariadbSession,
) -> Result<(Vec<String>, Vec<String>), DbError> {
    let sql = "SELECT VERSION(), CAST(@@log_bin AS CHAR), @@binlog_format, \
        CAST(@@log_bin_trust_function_creators AS CHAR), CAST(@@read_only AS CHAR), \
        CAST(@@global.max_allowed_packet AS CHAR), CURRENT_USER()";
    let rows = session.query(sql, Vec::new()).await?;
    let (mut refusals, mut warnings) = (Vec::new(), Vec::new());
    let Some(row) = rows.first() else { return Ok((refusals, warnings)) };
    let version = text_or_empty(row, 0)?;
    if !is_new_enough(&version) {
        refusals.push(format!(
            "the server is {version}, expected MariaDB {}.{} or newer: bridges to MySQL are not supported",
            OLDEST.0, OLDEST.1
        ));
    }
    let is_logged = is_on(&text_or_empty(row, 1)?);
    if is_logged && text_or_empty(row, 2)? == "STATEMENT" {
        refusals.push(
            "binlog_format is STATEMENT, with which the server refuses what is written in READ COMMITTED (1665): \
             SET GLOBAL binlog_format = 'MIXED', which is MariaDB's default, and in the server's configuration too"
                .to_owned(),
        );
    }
    if is_logged && !is_on(&text_or_empty(row, 3)?) && !is_super(session).await? {
        refusals.push(
            "the server writes a binary log and lets nobody without SUPER make triggers (1419): \
             SET GLOBAL log_bin_trust_function_creators = 1, and in the server's configuration too"
                .to_owned(),
        );
    }
    if is_on(&text_or_empty(row, 4)?) {
        warnings.push(
            "the server is read_only: the bridge waits until it takes writes (a replica is bridged at its primary)"
                .to_owned(),
        );
    }
    let packet: u64 = text_or_empty(row, 5)?.parse().unwrap_or_default();
    if packet < PACKET_BYTES_MIN {
        refusals.push(format!(
            "max_allowed_packet is {packet} bytes, expected at least {PACKET_BYTES_MIN}: SET GLOBAL max_allowed_packet = 16777216"
        ));
    }
    let user = text_or_empty(row, 6)?;
    warnings.push(format!(
        "the triggers run with the rights of {user}: if that user is dropped, every write of the tables fails (1449) until \
         bridge remove or bridge install"
    ));
    if !super::identity::is_seen(session).await? {
        warnings.push(format!(
            "TRUNCATE fires no trigger in MariaDB, and without the right PROCESS only bridge verify finds what it took: \
             GRANT PROCESS ON *.* TO {}",
            super::install::grantee(&user)
        ));
    }
    Ok((refusals, warnings))
}

/// Settings that are on or off read `ON` or `1`; `read_only` has other words for on in newer versions.
fn is_on(setting: &str) -> bool {
    !matches!(setting, "OFF" | "0" | "")
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    version.contains("MariaDB") && (major, minor) >= OLDEST
}

async fn is_super(session: &mut MariadbSession) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'SUPER' \
        AND grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";
    Ok(!session.query(sql, Vec::new()).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_and_old_versions_are_refused() {
        assert!(is_new_enough("10.11.19-MariaDB-0+deb12u1"));
        assert!(is_new_enough("11.4.2-MariaDB"));
        assert!(!is_new_enough("10.5.9-MariaDB"));
        assert!(!is_new_enough("8.0.36"));
    }
}
