//! Every type, read and written back, and tables as the catalogue has them.

use super::{cells, key, keys, shop};
use branchline_connect::sql::cell::Cell;
use branchline_connect::sql::database::{Database, DbErrorClass, Insert, Update};
use branchline_connect::sql::shape::{Charset, ColumnType};

const ALL: &str = r#"CREATE TABLE everything (
    id INT PRIMARY KEY, tiny TINYINT(1), small SMALLINT UNSIGNED, medium MEDIUMINT, big BIGINT UNSIGNED, filled INT(6) ZEROFILL,
    price DECIMAL(38,2), real4 FLOAT, real8 DOUBLE, flag BIT(1), bits BIT(64),
    name VARCHAR(30), fixed CHAR(5), latin VARCHAR(10) CHARACTER SET latin1, old TEXT CHARACTER SET utf8mb3,
    raw BINARY(4), var VARBINARY(10), file LONGBLOB, kind ENUM('b','a','2',''), tags SET('x','y','z'),
    doc JSON, uid UUID, ip INET6, day DATE, at DATETIME(6), plain DATETIME, moment TIMESTAMP(3) NULL, span TIME(1), year YEAR,
    doubled INT GENERATED ALWAYS AS (id * 2) STORED) CHARACTER SET utf8mb4;"#;

#[tokio::test]
async fn every_type_is_read_as_it_is_and_written_back_the_same() {
    let Some(mut shop) = shop(ALL).await else { return };
    let table = shop.bound("everything", 1).await;
    shop.install(std::slice::from_ref(&table)).await;
    let mut till = shop.till().await;
    till.run("SET time_zone = '+02:00'").await;
    till.run(
        r#"INSERT INTO everything VALUES (1, 2, 65535, -8388608, 18446744073709551615, 42,
        123456789012345678901234567890123456.10, 0.1, 0.30000000000000004, b'1', 18446744073709551615,
        'blanks  ', 'ab  ', 'é', 'ä', x'00ff', '', x'00', 'A', 'z,x',
        '{"b":1.00,"a":1,"a":2,"n":123456789012345678901}', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '::1',
        '2024-02-29', '2024-03-10 00:30:00.123456', '0000-00-00', '2024-03-10 02:30:00.5', '-838:59:59', 0, DEFAULT),
        (2, -1, 0, 0, 0, 0, -0.5, 16777217, 1e300, 0, 0, '', '', '', '', '', 'x', '', 'nothing', '', '""', NULL, NULL,
        '2024-00-15', '2024-01-01', '2024-00-15', '0000-00-00', '10:00', 2024, DEFAULT),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, DEFAULT)"#,
    )
    .await;
    let bytes = |bytes: &[u8]| Cell::Bytes(bytes.to_vec());
    let expected = |texts: &[&str], blobs: [&[u8]; 3]| {
        let mut row = cells(texts);
        row.splice(15..18, blobs.map(bytes));
        row
    };
    let first = expected(
        &[
            "1",
            "2",
            "65535",
            "-8388608",
            "18446744073709551615",
            "42",
            "123456789012345678901234567890123456.10",
            "0.1",
            "0.30000000000000004",
            "1",
            "18446744073709551615",
            "blanks  ",
            "ab",
            "é",
            "ä",
            "",
            "",
            "",
            "a",
            "x,z",
            r#"{"b":1.00,"a":1,"a":2,"n":123456789012345678901}"#,
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "::1",
            "2024-02-29",
            "2024-03-10 00:30:00.123456",
            "0000-00-00 00:00:00",
            "2024-03-10 00:30:00.500",
            "-838:59:59.0",
            "0000",
        ],
        [b"\x00\xff\x00\x00", b"", b"\x00"],
    );
    let second = expected(
        &[
            "2",
            "-1",
            "0",
            "0",
            "0",
            "0",
            "-0.50",
            "16777216",
            "1e300",
            "0",
            "0",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "\"\"",
            "NULL",
            "NULL",
            "2024-00-15",
            "2024-01-01 00:00:00.000000",
            "2024-00-15 00:00:00",
            "0000-00-00 00:00:00.000",
            "10:00:00.0",
            "2024",
        ],
        [b"\0\0\0\0", b"x", b""],
    );
    let rows = shop.rows(&table, &keys(&["1", "2", "3"])).await;
    for (read, expected) in rows.iter().zip([&first, &second]) {
        for ((column, cell), expected) in table.columns.iter().zip(&read.row).zip(expected) {
            assert_eq!(cell, expected, "{}", column.name);
        }
    }
    assert!(rows[2].row[1..].iter().all(|cell| *cell == Cell::Null));

    // Written back under other keys, by insert and by update, and read again.
    shop.begin().await;
    shop.driver.guard(Some(&table)).await.unwrap();
    let mut copy = first.clone();
    copy[25] = Cell::text("2024-03-10T02:30:00Z");
    let insert = |id: &str, row: &[Cell]| {
        let mut row: Vec<Option<Cell>> = row.iter().cloned().map(Some).collect();
        row[0] = Some(Cell::text(id));
        Insert { key: key(&[id]), row }
    };
    let nulls = &rows[2].row;
    shop.driver
        .insert(&table, &[insert("11", &copy), insert("13", nulls), insert("12", nulls)])
        .await
        .unwrap();
    let set: Vec<(usize, Cell)> = copy.iter().cloned().enumerate().skip(1).collect();
    shop.driver.update(&table, &[Update { key: key(&["12"]), set, add: vec![] }]).await.unwrap();
    let back = shop.driver.rows(&table, &keys(&["11", "12", "13"])).await.unwrap();
    copy[25] = Cell::text("2024-03-10 02:30:00");
    for read in &back[..2] {
        for ((column, cell), expected) in table.columns.iter().zip(&read.row).zip(&copy).skip(1) {
            assert_eq!(cell, expected, "{}", column.name);
        }
    }
    assert_eq!(back[2].row[1..], nulls[1..]);

    // Emoji, control characters, and a mebibyte.
    let long = "ä😀\u{0}\u{1}\\\"'".repeat(60_000);
    let blob: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    shop.driver.commit().await.unwrap();
    till.run("SET sql_mode = ''; ALTER TABLE everything MODIFY name LONGTEXT").await;
    shop.begin().await;
    let update = Update {
        key: key(&["11"]),
        set: vec![(11, Cell::text(&long)), (17, bytes(&blob))],
        add: vec![],
    };
    shop.driver
        .update(&table, &[update.clone(), Update { key: key(&["12"]), ..update }])
        .await
        .unwrap();
    let back = shop.driver.rows(&table, &keys(&["12"])).await.unwrap();
    assert!(back[0].row[11] == Cell::text(long) && back[0].row[17] == bytes(&blob));
    // What a text cannot be is refused, not cut.
    let wrong = Update { key: key(&["11"]), set: vec![(11, bytes(b"\xff"))], add: vec![] };
    assert_eq!(shop.driver.update(&table, &[wrong]).await.unwrap_err().class, DbErrorClass::Row);
    shop.driver.commit().await.unwrap();
}

#[tokio::test]
async fn the_catalogue_says_what_a_column_can_hold_and_why_a_table_cannot_be_bridged() {
    let tables = "
        CREATE TABLE parent (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, a INT, b INT, doc VARCHAR(40), UNIQUE pair (b, a), UNIQUE short (doc(3)));
        CREATE TABLE child (k VARCHAR(10), p BIGINT UNSIGNED, z INT, PRIMARY KEY (z, k), CONSTRAINT up FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL);
        CREATE TABLE exact (k VARCHAR(10) COLLATE utf8mb4_bin PRIMARY KEY, f CHAR(3) COLLATE utf8mb4_bin, n VARCHAR(5) COLLATE utf8mb4_nopad_bin, p POINT);
        CREATE TRIGGER theirs BEFORE INSERT ON child FOR EACH ROW SET NEW.z = 1;
        CREATE VIEW seen AS SELECT * FROM parent; CREATE TABLE flat (id INT PRIMARY KEY) ENGINE = MyISAM;
        CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2;";
    let Some(mut shop) = shop(&format!("{ALL}{tables}")).await else { return };
    let everything = shop.driver.shape("everything").await.unwrap().unwrap();
    let kind = |name: &str| everything.column(name).unwrap().kind.clone();
    assert_eq!(kind("tiny"), ColumnType::Integer { min: -128, max: 127 });
    assert_eq!(kind("medium"), ColumnType::Integer { min: -8_388_608, max: 8_388_607 });
    assert_eq!(kind("big"), ColumnType::Integer { min: 0, max: u64::MAX.into() });
    assert_eq!(kind("price"), ColumnType::Decimal { digits: Some((38, 2)) });
    assert_eq!(kind("real4"), ColumnType::Float { is_double: false });
    assert_eq!((kind("flag"), kind("bits")), (ColumnType::Boolean, kind("big")));
    let text =
        |chars, charset, is_padded| ColumnType::Text { chars_max: Some(chars), charset, is_padded };
    assert_eq!(kind("name"), text(30, Charset::Unicode, false));
    assert_eq!(kind("fixed"), text(5, Charset::Unicode, true));
    assert_eq!(kind("latin"), text(10, Charset::Latin1, false));
    assert_eq!(kind("old"), text(65_535, Charset::BasicPlane, false));
    assert_eq!(kind("raw"), ColumnType::Bytes { bytes_max: Some(4), padded_to: Some(4) });
    assert_eq!(kind("doc"), ColumnType::Json { is_normalised: false });
    assert_eq!(
        (kind("uid"), kind("ip"), kind("day")),
        (ColumnType::Uuid, ColumnType::Other, ColumnType::Date)
    );
    assert_eq!(kind("at"), ColumnType::DateTime { digits: 6, has_zone: false });
    assert_eq!(kind("moment"), ColumnType::DateTime { digits: 3, has_zone: true });
    let ColumnType::Enum { labels } = kind("kind") else { panic!() };
    assert_eq!(labels, ["b", "a", "2", ""]);
    assert!(everything.column("doubled").unwrap().is_generated);
    assert_eq!(everything.column("big").unwrap().declared, "bigint(20) unsigned");

    let parent = shop.driver.shape("parent").await.unwrap().unwrap();
    let id = parent.column("id").unwrap();
    assert!(id.is_numbered && id.has_default && !id.is_nullable);
    let unique: Vec<_> =
        parent.unique.iter().map(|u| (u.name.as_str(), u.columns.join(","), u.is_plain)).collect();
    assert_eq!(unique, [("pair", "b,a".to_owned(), true), ("short", "doc".to_owned(), false)]);
    assert_eq!(parent.foreign_keys.len(), 1);
    assert_eq!(parent.cascades_from_above(), []);

    let child = shop.driver.shape("child").await.unwrap().unwrap();
    assert_eq!(child.primary_key, ["z", "k"]);
    assert!(child.column("k").unwrap().key_trap.as_deref().unwrap().contains("'a', 'A' and 'a '"));
    assert_eq!(child.triggers[0].event, "BEFORE INSERT");
    let up = &child.cascades_from_above()[0];
    assert_eq!(
        (up.name.as_str(), up.on_delete.as_str(), up.on_update.as_str()),
        ("up", "SET NULL", "RESTRICT")
    );
    assert_eq!((&up.from_columns, &up.to_columns), (&vec!["p".to_owned()], &vec!["id".to_owned()]));

    let exact = shop.driver.shape("exact").await.unwrap().unwrap();
    assert!(exact.column("k").unwrap().key_trap.as_deref().unwrap().contains("blanks"));
    assert_eq!(exact.column("f").unwrap().key_trap, None);
    assert_eq!(exact.column("n").unwrap().key_trap, None);
    assert!(matches!(exact.column("p").unwrap().kind, ColumnType::Refused { .. }));

    let name = format!("{}.seen", shop.database);
    let view = shop.driver.shape(&name).await.unwrap().unwrap();
    assert!(view.refusals[0].contains("view"), "{:?}", view.refusals);
    let flat = shop.driver.shape("flat").await.unwrap().unwrap();
    assert!(flat.refusals[0].contains("ENGINE=InnoDB"), "{:?}", flat.refusals);
    let parts = shop.driver.shape("parts").await.unwrap().unwrap();
    assert!(parts.refusals.is_empty() && parts.warnings[0].contains("partitioned"));
    assert!(shop.driver.shape("mysql.user").await.unwrap().is_none());
}
