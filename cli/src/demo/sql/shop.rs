//! The tables of the offices' applications, and the bridges beside them.

/// A table, and how it is bridged.
#[derive(Clone, Copy)]
pub(super) struct ShopTable {
    pub(super) sql: &'static str,
    pub(super) bridge: &'static str,
}

/// Everybody's sales, at head office.
pub(super) const HEAD: ShopTable = ShopTable {
    sql: "CREATE TABLE sales (office TEXT NOT NULL, id INTEGER NOT NULL, sku TEXT NOT NULL, qty INTEGER NOT NULL, \
          paid TEXT NOT NULL, PRIMARY KEY (office, id))",
    bridge: r#"
[[bridge.table]]
table = "sales"
collection = "sales"
mode = "apply"
record_id = "{office}-{id}"
[bridge.table.fields]
paid = { kind = "decimal" }
"#,
};

/// A branch's own sales.
pub(super) const BRANCH: ShopTable = ShopTable {
    sql: "CREATE TABLE sales (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, qty INTEGER NOT NULL, paid TEXT NOT NULL, \
          acked_at DATETIME)",
    bridge: r#"
[[bridge.table]]
table = "sales"
collection = "sales"
mode = "capture"
record_id = "{site}-{id}"
acked = "acked_at"
acked_by = "head"
[bridge.table.fields]
paid = { kind = "decimal" }
office = { constant = "{site}" }
"#,
};

/// The stock, which all offices share.
pub(super) const STOCK: ShopTable = ShopTable {
    sql: "CREATE TABLE stock (sku TEXT PRIMARY KEY NOT NULL, price TEXT NOT NULL, qty INTEGER NOT NULL)",
    bridge: r#"
[[bridge.table]]
table = "stock"
collection = "stock"
mode = "both"
owner = "head"
[bridge.table.fields]
price = { kind = "decimal" }
qty = { kind = "counter" }
"#,
};
