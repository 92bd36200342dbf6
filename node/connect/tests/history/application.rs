//! The application: sessions that insert, update, delete, change keys, roll back and hold transactions open.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

/// Where the application's database is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres(String),
    MariaDb(String),
}

pub(crate) enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
}

impl Place {
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) | Self::MariaDb(url) => url.clone(),
        }
    }

    pub(crate) async fn session(&self) -> Session {
        match self {
            Self::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .busy_timeout(Duration::from_secs(20))
                    .foreign_keys(false);
                Session::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
            Self::Postgres(url) => Session::Postgres(PgConnection::connect(url).await.unwrap()),
            Self::MariaDb(url) => Session::MariaDb(MySqlConnection::connect(url).await.unwrap()),
        }
    }
}

/// The columns of the table, as all three databases read them.
const COLUMNS: &str =
    "CAST(id AS CHAR(20)), name, CAST(price AS CHAR(20)), CAST(qty AS CHAR(20)), code";

impl Session {
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
            Self::MariaDb(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
        }
    }

    /// A table's rows by id.
    pub(crate) async fn rows(&mut self, table: &str) -> BTreeMap<String, [Option<String>; 4]> {
        let sql = AssertSqlSafe(format!("SELECT {COLUMNS} FROM {table}"));
        macro_rules! read {
            ($connection:expr) => {{
                let rows = sqlx::query(sql).fetch_all($connection).await.unwrap();
                let cell = |row: &_, index: usize| -> Option<String> {
                    let row: &_ = row;
                    Row::try_get_unchecked::<Option<String>, _>(row, index).unwrap()
                };
                rows.iter()
                    .map(|row| {
                        let id = cell(row, 0).unwrap().trim().to_owned();
                        let trimmed =
                            |cell: Option<String>| cell.map(|text| text.trim().to_owned());
                        (
                            id,
                            [
                                cell(row, 1),
                                trimmed(cell(row, 2)),
                                trimmed(cell(row, 3)),
                                cell(row, 4),
                            ],
                        )
                    })
                    .collect()
            }};
        }
        match self {
            Self::Sqlite(connection) => read!(connection),
            Self::Postgres(connection) => read!(connection),
            Self::MariaDb(connection) => read!(connection),
        }
    }
}

/// Numbers from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}

/// The rows whose counters are added to by all and never set.
pub(crate) const COUNTED: [u64; 3] = [101, 102, 103];

/// The rows that come and go.
const IDS: u64 = 12;

/// One transaction: its statements, and what it adds to counters if it is committed.
fn transaction(engine: Engine, table: &str, dice: &mut Dice) -> (Vec<String>, BTreeMap<u64, i64>) {
    let mut statements = Vec::new();
    let mut added = BTreeMap::new();
    for _ in 0..=dice.below(4) {
        let (id, other) = (1 + dice.below(IDS), 1 + dice.below(IDS));
        let (text, price) = (dice.below(1000), dice.below(100_000));
        let price = format!("{}.{:02}", price / 100, price % 100);
        let code = match dice.below(3) {
            0 => "NULL".to_owned(),
            _ => format!("'c{}'", dice.below(6)),
        };
        let insert = format!(
            "INTO {table} (id, name, price, qty, code) VALUES ({id}, 'n{text}', '{price}', {}, {code})",
            dice.below(50)
        );
        let by = i64::try_from(dice.below(21)).unwrap() - 10;
        statements.push(match dice.below(11) {
            0 | 1 => format!("INSERT {insert}"),
            2 => match engine {
                Engine::Sqlite => format!("REPLACE {insert}"),
                Engine::MariaDb => format!("REPLACE {insert}"),
                Engine::Postgres => format!(
                    "INSERT {insert} ON CONFLICT (id) DO UPDATE SET name = excluded.name, price = excluded.price"
                ),
            },
            3 => format!("DELETE FROM {table} WHERE id = {id}"),
            4 => format!("UPDATE {table} SET id = {other} WHERE id = {id}"),
            5 => format!("UPDATE {table} SET name = 'n{text}' WHERE id = {id}"),
            6 => format!("UPDATE {table} SET price = '{price}', code = {code} WHERE id = {id}"),
            7 => format!("UPDATE {table} SET qty = qty + {by} WHERE id = {id}"),
            8 => format!("DELETE FROM {table} WHERE id = {id}; INSERT {insert}"),
            _ => {
                let counted = COUNTED[usize::try_from(dice.below(3)).unwrap()];
                *added.entry(counted).or_insert(0) += by;
                format!("UPDATE {table} SET qty = qty + {by} WHERE id = {counted}")
            }
        });
    }
    (statements, added)
}

/// Works until it has done `transactions`; returns how many were committed, and what they added.
pub(crate) async fn session(
    engine: Engine,
    place: Place,
    table: String,
    mut dice: Dice,
    transactions: u64,
) -> (u64, BTreeMap<u64, i64>) {
    let mut session = place.session().await;
    let (mut commits, mut total) = (0, BTreeMap::new());
    for _ in 0..transactions {
        let (statements, added) = transaction(engine, &table, &mut dice);
        let begin = if engine == Engine::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let mut is_fine = session.run(begin).await.is_ok();
        for statement in statements {
            is_fine = is_fine && session.run(&statement).await.is_ok();
            // Some transactions are held open.
            if is_fine && dice.below(12) == 0 {
                tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
            }
        }
        if is_fine && dice.below(4) > 0 {
            if session.run("COMMIT").await.is_ok() {
                commits += 1;
                for (id, by) in added {
                    *total.entry(id).or_insert(0) += by;
                }
            }
        } else {
            let _ = session.run("ROLLBACK").await;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(25))).await;
    }
    (commits, total)
}
