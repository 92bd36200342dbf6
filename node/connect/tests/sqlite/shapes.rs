//! Tables as the catalogue has them.

use branchline_connect::sql::database::{Database, Engine};
use branchline_connect::sql::shape::ColumnType;

use crate::shop::{Shop, key};

#[tokio::test]
async fn columns_keys_indexes_and_their_traps_are_read() {
    let shop = Shop::wal(
        "CREATE TABLE makers (name TEXT PRIMARY KEY); \
         CREATE TABLE goods (id INTEGER PRIMARY KEY, sku TEXT COLLATE NOCASE NOT NULL UNIQUE, price DECIMAL(10,2), \
            made DATETIME, maker TEXT REFERENCES makers ON DELETE SET NULL, gross AS (price * 2), ean TEXT, \
            part TEXT COLLATE RTRIM, loose); \
         CREATE UNIQUE INDEX lowered ON goods (lower(ean)); \
         CREATE UNIQUE INDEX partly ON goods (ean) WHERE ean <> ''; \
         CREATE UNIQUE INDEX blind ON goods (ean COLLATE NOCASE); \
         CREATE TRIGGER mine AFTER UPDATE OF price ON goods BEGIN SELECT 1; END; \
         CREATE VIEW cheap AS SELECT * FROM goods; \
         CREATE TABLE twice (k TEXT, n INT, PRIMARY KEY (n, k)) WITHOUT ROWID",
    )
    .await;
    let mut bridge = shop.bridge().await;
    assert_eq!(bridge.database.engine(), Engine::Sqlite);
    let goods = bridge.database.shape("main.GOODS").await.unwrap().unwrap();
    assert_eq!(goods.name.name, "goods");
    assert_eq!(goods.primary_key, ["id"]);
    let id = goods.column("id").unwrap();
    assert!(id.is_numbered && !id.is_nullable && id.has_default);
    assert!(goods.column("gross").unwrap().is_generated);
    assert_eq!(goods.column("price").unwrap().kind, ColumnType::Loose);
    assert_eq!(
        goods.column("made").unwrap().kind,
        ColumnType::DateTime { digits: 9, has_zone: false }
    );
    assert!(goods.column("sku").unwrap().key_trap.as_ref().unwrap().contains("'A' and 'a'"));
    assert!(goods.column("part").unwrap().key_trap.as_ref().unwrap().contains("'a '"));
    assert!(goods.column("loose").unwrap().key_trap.is_some());
    assert!(goods.column("ean").unwrap().key_trap.is_none());
    let plain: Vec<&str> = goods
        .unique
        .iter()
        .filter(|index| index.is_plain)
        .map(|index| index.columns[0].as_str())
        .collect();
    assert_eq!((plain, goods.unique.len()), (vec!["sku"], 4), "{:?}", goods.unique);
    for index in ["lowered", "partly", "blind"] {
        assert!(
            goods.warnings.iter().any(|text| text.contains(index)),
            "{index}: {:?}",
            goods.warnings
        );
    }
    let besides = goods.unique_besides(&["sku".to_owned()]);
    assert!(
        besides.iter().any(|index| index.columns == ["id"]),
        "the primary key too: {besides:?}"
    );
    assert!(!besides.iter().any(|index| index.columns == ["sku"]), "{besides:?}");
    let [foreign_key] = &goods.foreign_keys[..] else { panic!("{:?}", goods.foreign_keys) };
    assert_eq!(
        (foreign_key.to.name.as_str(), &foreign_key.to_columns[..]),
        ("makers", &["name".to_owned()][..])
    );
    assert!(foreign_key.cascades());
    assert_eq!(
        bridge.database.shape("makers").await.unwrap().unwrap().foreign_keys,
        goods.foreign_keys
    );
    assert_eq!((goods.triggers.len(), goods.triggers[0].event.as_str()), (1, "AFTER UPDATE"));
    let twice = bridge.database.shape("twice").await.unwrap().unwrap();
    assert_eq!(twice.primary_key, ["n", "k"]);
    assert!(twice.columns.iter().all(|column| !column.is_nullable && !column.is_numbered));
    let cheap = bridge.database.shape("cheap").await.unwrap().unwrap();
    assert!(cheap.refusals[0].contains("a view"), "{:?}", cheap.refusals);
    assert_eq!(bridge.database.shape("nothing").await.unwrap(), None);
}

/// B31: a collation that takes two keys for one must not let a write of one hit the other.
#[tokio::test]
async fn a_key_is_hit_byte_by_byte_whatever_its_collation() {
    let shop = Shop::wal(
        "CREATE TABLE goods (sku TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0); \
         INSERT INTO goods VALUES ('Tea', 1)",
    )
    .await;
    let mut till = shop.till(false).await;
    let mut bridge = shop.bridge().await;
    let goods = bridge.bound(1, "goods").await;
    bridge.install(std::slice::from_ref(&goods)).await;
    assert!(bridge.rows(&goods, &["tea"]).await.is_empty());
    assert_eq!(bridge.rows(&goods, &["Tea"]).await.len(), 1);
    bridge.begin(None).await;
    bridge.database.delete(&goods, &[key("tea")]).await.unwrap();
    let update = branchline_connect::sql::database::Update {
        key: key("tea"),
        set: vec![],
        add: vec![(1, 5)],
    };
    bridge.database.update(&goods, &[update]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT sku || n FROM goods").await, "Tea1");
}

/// A table that needs what only the application has (functions, collations) is named.
#[tokio::test]
async fn what_only_the_application_has_is_named() {
    let shop = Shop::wal("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)").await;
    let mut till = shop.till(false).await;
    till.run("CREATE TRIGGER mine AFTER INSERT ON t BEGIN UPDATE t SET v = till_name(NEW.v); END")
        .await;
    till.run("CREATE TRIGGER strict BEFORE DELETE ON t BEGIN SELECT raise ( Rollback, 'no'); END")
        .await;
    let mut bridge = shop.bridge().await;
    let shape = bridge.database.shape("t").await.unwrap().unwrap();
    assert!(shape.warnings.iter().any(|text| text.contains("RAISE(ABORT")), "{:?}", shape.warnings);
    assert!(shape.warnings.iter().any(|text| text.contains("till_name")), "{:?}", shape.warnings);
}

/// UTF-16 files, and names that need quoting.
#[tokio::test]
async fn odd_names_and_encodings_are_read_and_written() {
    let shop = Shop::wal("SELECT 1").await;
    std::fs::remove_file(&shop.path).unwrap();
    let mut till = shop.till(true).await;
    till.run("PRAGMA encoding = 'UTF-16'; PRAGMA journal_mode = wal").await;
    till.run(
        "CREATE TABLE \"order \"\"lines\" (\"the key\" TEXT PRIMARY KEY, \"select\" TEXT UNIQUE, \"{site}\" INT); \
         INSERT INTO \"order \"\"lines\" VALUES ('grün', '🍵', 1)",
    )
    .await;
    let mut bridge = shop.bridge().await;
    let table = bridge.bound(1, "order \"lines").await;
    let tables = [table.clone()];
    bridge.install(&tables).await;
    till.run("REPLACE INTO \"order \"\"lines\" VALUES ('blau', '🍵', 2)").await;
    assert_eq!(bridge.drain(&tables).await, ["1 L grün", "1 I blau"]);
    let rows = bridge.rows(&table, &["blau", "grün"]).await;
    assert_eq!((rows.len(), &rows[0].row[1]), (1, &crate::shop::text("🍵")));
    bridge.begin(None).await;
    let update = branchline_connect::sql::database::Update {
        key: key("blau"),
        set: vec![(1, crate::shop::text("ß"))],
        add: vec![(2, 40)],
    };
    bridge.database.update(&table, &[update]).await.unwrap();
    bridge.database.commit().await.unwrap();
    assert_eq!(till.value("SELECT \"select\" || \"{site}\" FROM \"order \"\"lines\"").await, "ß42");
}
