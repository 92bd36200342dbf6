//! What the offices' applications do, in plain SQL.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use branchline_tests::disk::Random;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::client::{Client, Place};
use super::tables::{QTY, SKUS};

/// Rows of `products` before there is a bridge.
const ROWS: u64 = 1000;
/// Rows of an INSERT.
const ROWS_AT_ONCE: u64 = 100;
/// What lies between two transactions of an open shop.
const PAUSE: Duration = Duration::from_millis(10);
const REGIONS: [&str; 4] = ["Norte", "Sur", "Этаж 2", "a''b"];
/// The first date; the last is four months later, with a change of the clocks between them.
const FIRST: i64 = 1_709_251_200_000;
const SPAN_MS: u64 = 120 * 86_400_000;

/// The application of an office.
pub(crate) struct Application {
    place: Place,
    random: Random,
    client: Client,
    /// Transactions that the database has confirmed.
    pub(crate) done: u64,
}

impl Application {
    pub(crate) fn new(place: &Place, seed: u64) -> Self {
        let client = Client::new(place);
        Self { place: place.clone(), random: Random(seed), client, done: 0 }
    }

    fn is_head(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// Fills the tables as they are before there is a bridge.
    pub(crate) fn fill(&mut self) {
        // Head owns the stock: what the branches think it has is of no account.
        let qty = if self.is_head() { QTY } else { 7 };
        let rows: Vec<_> = (0..SKUS).map(|n| format!("('sku-{n:02}', '1.25', {qty})")).collect();
        self.run(&format!("INSERT INTO stock (sku, price, qty) VALUES {}", rows.join(", ")));
        for _ in 0..ROWS / ROWS_AT_ONCE {
            if !self.is_head() {
                let rows: Vec<_> = (0..ROWS_AT_ONCE).map(|_| self.product()).collect();
                self.run(&insert(&rows.join(", ")));
            }
        }
    }

    /// A transaction that must succeed.
    pub(crate) fn run(&mut self, sql: &str) {
        self.client.rows(sql).unwrap();
    }

    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<String>, String> {
        self.client.rows(sql)
    }

    /// Sells until the shop is closed, also while the database is down.
    pub(crate) fn sell(&mut self, is_closed: &AtomicBool) {
        while !is_closed.load(Ordering::Relaxed) {
            let sql = self.transaction();
            if self.client.rows(&sql).is_ok() {
                self.done += 1;
            }
            thread::sleep(PAUSE);
        }
    }

    /// So many transactions, each of which must succeed.
    pub(crate) fn sell_times(&mut self, times: u64) {
        for _ in 0..times {
            let sql = self.transaction();
            self.run(&sql);
            self.done += 1;
        }
    }

    fn transaction(&mut self) -> String {
        let mut statements = vec!["BEGIN".to_owned()];
        let end = if self.random.one_in(8) { "ROLLBACK" } else { "COMMIT" };
        for _ in 0..=self.random.below(2) {
            match self.is_head() {
                true => statements.push(self.new_price()),
                false => statements.push(self.product_statement()),
            }
        }
        if !self.random.one_in(3) {
            // One of a few, so that the offices meet; in one order, so that they do not wait for each other crosswise.
            let sku = format!("sku-{:02}", self.random.below(SKUS));
            let by = i64::try_from(self.random.below(9)).unwrap() - 5;
            statements.push(format!("UPDATE stock SET qty = qty + {by} WHERE sku = '{sku}'"));
            statements.push(format!("INSERT INTO sales (sku, qty) VALUES ('{sku}', {by})"));
        }
        statements.push(end.to_owned());
        statements.join("; ")
    }

    fn new_price(&mut self) -> String {
        let (sku, price) = (self.random.below(SKUS), self.money());
        format!("UPDATE stock SET price = {price} WHERE sku = 'sku-{sku:02}'")
    }

    fn product_statement(&mut self) -> String {
        let id = 1 + self.random.below(ROWS + 200);
        let (now, cost, region) = (self.time(), self.money(), self.region());
        match self.random.below(10) {
            0..4 => insert(&self.product()),
            4..9 => format!(
                "UPDATE products SET cost = {cost}, region = '{region}', updated_at = {now} WHERE id = {id} AND \
                 deleted_at IS NULL"
            ),
            _ => format!(
                "UPDATE products SET deleted_at = {now} WHERE id = {id} AND deleted_at IS NULL"
            ),
        }
    }

    fn product(&mut self) -> String {
        let (date, created, cost, tax) = (self.time(), self.time(), self.money(), self.money());
        let (product, region) = (self.random.below(500), self.region());
        let qty = self.random.below(100);
        // As every application has them: some columns without a value.
        let region = if self.random.one_in(20) { "NULL".to_owned() } else { format!("'{region}'") };
        format!("({date}, 'Té 🍵 {product}', {region}, {qty}, {cost}, {tax}, {created}, {created})")
    }

    fn region(&mut self) -> &'static str {
        REGIONS[self.random.below(4) as usize]
    }

    /// An amount; quoted where the column is text.
    fn money(&mut self) -> String {
        format!("'{}.{:02}'", self.random.below(500), self.random.below(100))
    }

    /// A time as GORM's drivers write it: SQLite gets nanoseconds and the machine's offset, the others UTC.
    fn time(&mut self) -> String {
        let ms = FIRST + i64::try_from(self.random.below(SPAN_MS)).unwrap();
        let moment = Timestamp::from_millisecond(ms).unwrap();
        let rest = ms % 1000;
        match self.place {
            Place::Sqlite(_) => {
                let local = Offset::constant(2).to_datetime(moment);
                format!("'{}.{rest:03}123456+02:00'", local.strftime("%Y-%m-%d %H:%M:%S"))
            }
            Place::MariaDb(_) => {
                format!("'{}.{rest:03}'", moment.strftime("%Y-%m-%d %H:%M:%S"))
            }
            Place::Postgres(_) => {
                format!("'{}.{rest:03}+00'", moment.strftime("%Y-%m-%d %H:%M:%S"))
            }
        }
    }
}

/// The product of a till that dies before it commits.
pub(crate) const NEVER: &str = "never";

/// What such a till has done by then.
pub(crate) fn unfinished() -> String {
    let product = format!("(NULL, '{NEVER}', NULL, 1, 1, '1', NULL, NULL)");
    format!("BEGIN IMMEDIATE; {}; UPDATE stock SET qty = qty - 1000, price = '0'", insert(&product))
}

fn insert(rows: &str) -> String {
    format!(
        "INSERT INTO products (date, product, region, qty, cost, tax, created_at, updated_at) VALUES {rows}"
    )
}
