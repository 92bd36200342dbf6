//! The same records in a SQLite file, which is asked the same: a table with a column for each field, in this process.
//! SQLite has no decimals, and adds prices up as floats.

use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::client::BATCH;
use crate::records;
use crate::report::Figures;

const COLUMNS: [(&str, &str); 11] = [
    ("id", "TEXT PRIMARY KEY"),
    ("branch", "TEXT"),
    ("customer", "TEXT"),
    ("product", "TEXT"),
    ("unit_price", "NUMERIC"),
    ("quantity", "INTEGER"),
    ("total_cents", "INTEGER"),
    ("sold", "TEXT"),
    ("payment", "TEXT"),
    ("member", "INTEGER"),
    ("receipt", "TEXT"),
];

/// A file with the records.
pub(crate) struct Sqlite {
    connection: SqliteConnection,
}

impl Sqlite {
    pub(crate) async fn filled(file: &Path, records: usize) -> Self {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let connection = SqliteConnection::connect_with(&options).await.expect("SQLite opens");
        let mut sqlite = Self { connection };
        let columns = COLUMNS.map(|(name, of)| format!("{name} {of}")).join(", ");
        sqlite.run(&format!("CREATE TABLE sales ({columns})")).await;
        let values = COLUMNS.map(|(name, _)| format!("value ->> '{name}'")).join(", ");
        let insert = format!("INSERT INTO sales SELECT {values} FROM json_each(?)");
        sqlite.run("BEGIN").await;
        for numbers in records::batches(records, BATCH) {
            let insert = sqlx::query(AssertSqlSafe(insert.clone())).bind(json(numbers));
            insert.execute(&mut sqlite.connection).await.expect("rows are inserted");
        }
        sqlite.run("COMMIT").await;
        sqlite
    }

    /// Makes indexes on these columns.
    pub(crate) async fn index(&mut self, columns: &[&str]) {
        for column in columns {
            self.run(&format!("CREATE INDEX by_{column} ON sales ({column})")).await;
        }
    }

    /// How long each of these queries takes, by the name of its figure.
    pub(crate) async fn ask(
        &mut self,
        queries: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Figures {
        let mut figures = Figures::new();
        for (figure, query) in queries {
            let started = Instant::now();
            let rows = sqlx::query(query).fetch_all(&mut self.connection).await;
            assert!(!rows.expect("rows").is_empty(), "{query}");
            figures.push((figure, started.elapsed().as_secs_f64() * 1_000.0));
        }
        figures
    }

    async fn run(&mut self, sql: &str) {
        let done = self.connection.execute(AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

fn json(numbers: Range<usize>) -> String {
    let rows = numbers.map(|number| {
        let mut fields = records::fields(number);
        fields.insert("id".to_owned(), records::id(number).into());
        Value::Object(fields)
    });
    rows.collect::<Value>().to_string()
}
