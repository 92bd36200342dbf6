//! The tables, as GORM's AutoMigrate makes them, and the bridges to them.
//!
//! `sales` is the application's own book of what it did to `stock`, written in the same transaction: no bridge knows it.

use super::client::Place;

/// Products of `stock`.
pub(crate) const SKUS: u64 = 20;
/// What head office has of each when all begins.
pub(crate) const QTY: i64 = 1000;

const POSTGRES: &str = r#"
    CREATE TABLE "products" ("office" text NOT NULL, "id" bigserial, "date" timestamptz, "product" text, "region" text,
        "qty" bigint, "cost" numeric(20,8), "tax" numeric(20,8), "created_at" timestamptz, "updated_at" timestamptz,
        "deleted_at" timestamptz, PRIMARY KEY ("office","id"));
    CREATE INDEX "idx_products_deleted_at" ON "products" ("deleted_at");
    CREATE TABLE "stock" ("sku" text NOT NULL, "price" numeric(20,8), "qty" bigint NOT NULL, PRIMARY KEY ("sku"));
    CREATE TABLE "sales" ("id" bigserial, "sku" text, "qty" bigint, PRIMARY KEY ("id"));
"#;

const MARIADB: &str = "
    CREATE TABLE `products` (`id` bigint unsigned AUTO_INCREMENT, `date` datetime(3) NULL, `product` longtext,
        `region` longtext, `qty` bigint, `cost` decimal(20,8), `tax` decimal(20,8), `created_at` datetime(3) NULL,
        `updated_at` datetime(3) NULL, `deleted_at` datetime(3) NULL, `sent_at` datetime(3) NULL,
        `acked_at` datetime(3) NULL, PRIMARY KEY (`id`), INDEX `idx_products_deleted_at` (`deleted_at`));
    CREATE TABLE `stock` (`sku` varchar(191) NOT NULL, `price` decimal(20,8), `qty` bigint NOT NULL,
        PRIMARY KEY (`sku`));
    CREATE TABLE `sales` (`id` bigint unsigned AUTO_INCREMENT, `sku` longtext, `qty` bigint, PRIMARY KEY (`id`));
";

const SQLITE: &str = "
    CREATE TABLE `products` (`id` integer PRIMARY KEY AUTOINCREMENT, `date` datetime, `product` text, `region` text,
        `qty` integer, `cost` real, `tax` text, `created_at` datetime, `updated_at` datetime, `deleted_at` datetime,
        `sent_at` datetime, `acked_at` datetime);
    CREATE INDEX `idx_products_deleted_at` ON `products`(`deleted_at`);
    CREATE TABLE `stock` (`sku` text NOT NULL, `price` text, `qty` integer NOT NULL, PRIMARY KEY (`sku`));
    CREATE TABLE `sales` (`id` integer PRIMARY KEY AUTOINCREMENT, `sku` text, `qty` integer);
";

/// What head's bridge does with `products`. SQLite's application writes nanoseconds, which `timestamptz` cuts.
const APPLIED: &str = r#"
    [[bridge.table]]
    table = "products"
    collection = "products"
    mode = "apply"
    key = ["office", "id"]
    record_id = "{office}-{id}"
    deleted = "deleted_at"
    lossy = true
"#;

const CAPTURED: &str = r#"
    [[bridge.table]]
    table = "products"
    collection = "products"
    mode = "capture"
    record_id = "{site}-{id}"
    deleted = "deleted_at"
    sent = "sent_at"
    acked = "acked_at"
    acked_by = "head"
    OPTION
    [bridge.table.fields]
    office = { constant = "{site}" }
"#;

/// MariaDB's default collation takes `A` for `a`; anyone who names the key accepts that.
const SHARED: &str = r#"
    [[bridge.table]]
    table = "stock"
    collection = "stock"
    mode = "both"
    key = ["sku"]
    record_id = "{sku}"
    owner = "head"
    [bridge.table.fields]
    qty = { kind = "counter" }
"#;

/// The statements that make the tables.
pub(crate) fn made(place: &Place) -> &'static str {
    match place {
        Place::Postgres(_) => POSTGRES,
        Place::MariaDb(_) => MARIADB,
        Place::Sqlite(_) => SQLITE,
    }
}

/// `branchline.toml`.
pub(crate) fn bridge(place: &Place) -> String {
    let products = match place {
        Place::Postgres(_) => APPLIED.to_owned(),
        // GORM writes UTC into columns that have no zone.
        Place::MariaDb(_) => CAPTURED.replace("OPTION", "zone = \"UTC\""),
        // The column `cost` is a float.
        Place::Sqlite(_) => CAPTURED.replace("OPTION", "lossy = true"),
    };
    let url = place.url();
    format!("[[bridge]]\nname = \"shop\"\nurl = \"{url}\"\npoll = \"50ms\"\n{products}{SHARED}")
}

/// All products of a branch, in the form that head's have, by office and id.
pub(crate) fn products(place: &Place, office: &str) -> String {
    let (office, time, number, deleted) = match place {
        Place::Postgres(_) => (
            "office".to_owned(),
            "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')",
            "{}::text",
            "(deleted_at IS NOT NULL)::int",
        ),
        Place::MariaDb(_) => (
            format!("'{office}'"),
            "CAST({} AS CHAR)",
            "CAST({} AS CHAR)",
            "deleted_at IS NOT NULL",
        ),
        Place::Sqlite(_) => (
            format!("'{office}'"),
            "strftime('%Y-%m-%d %H:%M:%f', {})",
            "printf('%.8f', {})",
            "deleted_at IS NOT NULL",
        ),
    };
    let time = |column| time.replace("{}", column);
    let number = |column| number.replace("{}", column);
    format!(
        "SELECT {office} AS o, id, {}, product, region, qty, {}, {}, {}, {}, {deleted} FROM products \
         ORDER BY o, id",
        time("date"),
        number("cost"),
        number("tax"),
        time("created_at"),
        time("updated_at"),
    )
}

/// The shared table.
pub(crate) fn stock(place: &Place) -> &'static str {
    match place {
        Place::Postgres(_) => "SELECT sku, price::text, qty FROM stock ORDER BY sku",
        Place::MariaDb(_) => "SELECT sku, CAST(price AS CHAR), qty FROM stock ORDER BY sku",
        Place::Sqlite(_) => "SELECT sku, printf('%.8f', price), qty FROM stock ORDER BY sku",
    }
}
