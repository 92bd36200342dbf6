//! What triggers note, and what is seen of it.

use super::{key, keys, shop};
use branchline_connect::sql::database::Database;

const SALES: &str = "CREATE TABLE sales (id BIGINT AUTO_INCREMENT PRIMARY KEY, code VARCHAR(20) UNIQUE, total INT);";

#[tokio::test]
async fn a_lower_note_that_commits_later_is_not_skipped() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = shop.bound("sales", 1).await;
    shop.install(&[sales]).await;
    let (mut first, mut second) = (shop.till().await, shop.till().await);
    first.run("START TRANSACTION; INSERT INTO sales (id) VALUES (1)").await;
    second.run("INSERT INTO sales (id) VALUES (2)").await;
    assert!(shop.driver.has_notes().await.unwrap());
    // Neither the read nor the deletion waits for the open transaction.
    assert_eq!(shop.noted().await, ["1 I 2"]);
    first.run("COMMIT").await;
    assert_eq!(shop.noted().await, ["1 I 1"]);
    assert!(!shop.driver.has_notes().await.unwrap());
    first.run("INSERT INTO sales (id) VALUES (3), (4), (5)").await;
    assert_eq!(shop.driver.notes_waiting().await.unwrap(), 3);
}

#[tokio::test]
async fn notes_name_the_rows_that_changed_and_both_keys_where_a_key_changed() {
    let Some(mut shop) = shop(SALES).await else { return };
    let sales = shop.bound("sales", 1).await;
    shop.install(&[sales]).await;
    let mut till = shop.till().await;
    till.run("INSERT INTO sales VALUES (3, 'c', 1), (4, 'd', 1), (5, 'e', 1)").await;
    assert_eq!(shop.noted().await, ["1 I 3", "1 I 4", "1 I 5"]);
    till.run("UPDATE sales SET id = 30 WHERE id = 3").await;
    assert_eq!(shop.noted().await, ["1 D 3", "1 U 30"]);
    // REPLACE and ON DUPLICATE KEY UPDATE that meet another row by its other unique key.
    till.run("REPLACE INTO sales VALUES (9, 'd', 2)").await;
    assert_eq!(shop.noted().await, ["1 D 4", "1 I 9"]);
    till.run("INSERT INTO sales VALUES (10, 'e', 7) ON DUPLICATE KEY UPDATE total = 7").await;
    assert_eq!(shop.noted().await, ["1 U 5"]);
    till.run("INSERT IGNORE INTO sales VALUES (11, 'e', 7)").await;
    till.run("START TRANSACTION; SAVEPOINT s; INSERT INTO sales VALUES (12, 'x', 1); ROLLBACK TO s; COMMIT").await;
    till.run("START TRANSACTION; DELETE FROM sales; ROLLBACK").await;
    assert_eq!(shop.noted().await, [""; 0]);
    till.run("INSERT INTO sales (code) VALUES ('new'), ('newer')").await;
    assert_eq!(till.text("SELECT LAST_INSERT_ID(), ROW_COUNT()").await, "31|2");
    assert_eq!(till.text("SELECT COUNT(*) FROM sales WHERE id = LAST_INSERT_ID()").await, "1");
}

#[tokio::test]
async fn keys_of_several_columns_and_of_every_type_are_found_by_their_notes() {
    let tables = "
        CREATE TABLE several (office VARCHAR(10) COLLATE utf8mb4_nopad_bin, n INT, PRIMARY KEY (office, n));
        CREATE TABLE bytes (id BINARY(4) PRIMARY KEY);
        CREATE TABLE moments (id TIMESTAMP(3) PRIMARY KEY DEFAULT '2024-01-01 00:00:00.000');
        CREATE TABLE bits (id BIT(9) PRIMARY KEY);
        CREATE TABLE decimals (id DECIMAL(30,2) PRIMARY KEY);
        CREATE TABLE big (id BIGINT UNSIGNED ZEROFILL PRIMARY KEY);
        CREATE TABLE uuids (id UUID PRIMARY KEY);
        CREATE TABLE labels (id ENUM('b','a','2') PRIMARY KEY);
        CREATE TABLE latin (id VARCHAR(20) CHARACTER SET latin1 PRIMARY KEY);
        CREATE TABLE times (id TIME(2) PRIMARY KEY);
        CREATE TABLE dates (id DATETIME(6) PRIMARY KEY);
        CREATE TABLE years (id YEAR PRIMARY KEY);";
    let Some(mut shop) = shop(tables).await else { return };
    let mut tables = Vec::new();
    let names = [
        "several", "bytes", "moments", "bits", "decimals", "big", "uuids", "labels", "latin",
        "times", "dates", "years",
    ];
    for (name, number) in names.iter().zip(1..) {
        tables.push(shop.bound(name, number).await);
    }
    shop.install(&tables).await;
    let mut till = shop.till().await;
    till.run("SET NAMES latin1, time_zone = '+05:00', sql_mode = 'ANSI'").await;
    till.run(
        "INSERT INTO several VALUES ('a\"b', 2), ('a\"b', 1), ('c', 1);
         INSERT INTO bytes VALUES (x'00ff'), (x'01');
         INSERT INTO moments VALUES ('2024-07-01 05:00:00.123'), ('2024-07-01 06:00:00.5');
         INSERT INTO bits VALUES (b'100000001'), (2);
         INSERT INTO decimals VALUES (12345678901234567890.5), (1.1);
         INSERT INTO big VALUES (18446744073709551615), (9007199254740993), (9007199254740992);
         INSERT INTO uuids VALUES ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
         INSERT INTO labels VALUES ('a'), ('2'), ('b');
         INSERT INTO latin VALUES (x'E9'), ('n');
         INSERT INTO times VALUES ('-10:00:00.5'), ('100:00:00');
         INSERT INTO dates VALUES ('2024-07-01 05:00:00.123456'), ('2024-07-01 05:00:00');
         INSERT INTO years VALUES (2024), (1999);",
    )
    .await;
    let notes = shop.drain().await;
    let text = |number: u32| -> Vec<String> {
        let of = notes.iter().filter(|note| note.table == number);
        of.map(|note| note.key.clone().unwrap()).collect()
    };
    assert_eq!(text(1), ["[\"a\\\"b\", \"2\"]", "[\"a\\\"b\", \"1\"]", "[\"c\", \"1\"]"]);
    assert_eq!(text(2), ["00ff0000", "01000000"]);
    assert_eq!(text(3), ["2024-07-01 00:00:00.123", "2024-07-01 01:00:00.500"]);
    assert_eq!(text(4), ["257", "2"]);
    assert_eq!(text(9), ["é", "n"]);
    for table in &tables {
        let width = table.key.len();
        let parsed = |text: String| branchline_connect::sql::cell::Key::from_text(&text, width);
        let mut noted: Vec<_> =
            text(table.number).into_iter().map(|text| parsed(text).unwrap()).collect();
        noted.sort();
        let found = shop.rows(table, &noted).await;
        let found: Vec<_> = found.into_iter().map(|read| read.key).collect();
        assert_eq!(found, noted, "{}", table.table);
        // Pages of one row each meet every row once.
        shop.driver.begin_read(std::slice::from_ref(table)).await.unwrap();
        let mut paged = Vec::new();
        while let [read] = &shop.driver.page(table, paged.last(), 1).await.unwrap()[..] {
            paged.push(read.key.clone());
            assert!(paged.len() <= noted.len(), "{}: {paged:?}", table.table);
        }
        shop.driver.end_read().await.unwrap();
        paged.sort();
        assert_eq!(paged, noted, "{}", table.table);
    }
}

#[tokio::test]
async fn cascades_are_noted_through_tables_and_within_one() {
    let tables = "
        CREATE TABLE region (id INT PRIMARY KEY);
        CREATE TABLE office (id INT PRIMARY KEY, region INT, FOREIGN KEY (region) REFERENCES region (id) ON DELETE CASCADE);
        CREATE TABLE sale (office INT, n INT, PRIMARY KEY (office, n), FOREIGN KEY (office) REFERENCES office (id) ON DELETE CASCADE ON UPDATE CASCADE);
        CREATE TABLE category (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES category (id) ON DELETE CASCADE);
        CREATE TABLE product (id INT PRIMARY KEY, category INT, FOREIGN KEY (category) REFERENCES category (id) ON DELETE SET NULL);
        INSERT INTO region VALUES (1), (2); INSERT INTO office VALUES (10, 1), (20, 2);
        INSERT INTO sale VALUES (10, 1), (10, 2), (20, 1);
        INSERT INTO category VALUES (1, NULL), (2, 1), (3, 2), (4, NULL);
        INSERT INTO product VALUES (100, 4), (101, 1), (103, 3);";
    let Some(mut shop) = shop(tables).await else { return };
    let mut bounds = Vec::new();
    for (name, number) in ["sale", "category", "product"].into_iter().zip(1..) {
        bounds.push(shop.bound(name, number).await);
    }
    shop.install(&bounds).await;
    let mut till = shop.till().await;
    till.run("DELETE FROM region WHERE id = 1").await;
    assert_eq!(till.text("SELECT COUNT(*) FROM sale").await, "1");
    let mut noted = shop.noted().await;
    noted.sort();
    assert_eq!(noted, ["1 L [\"10\", \"1\"]", "1 L [\"10\", \"2\"]"]);
    till.run("UPDATE office SET id = 21 WHERE id = 20").await;
    assert_eq!(till.text("SELECT office FROM sale").await, "21");
    assert_eq!(shop.noted().await, ["1 L [\"20\", \"1\"]", "1 L [\"21\", \"1\"]"]);
    till.run("UPDATE office SET region = 2").await;
    assert_eq!(shop.noted().await, [""; 0]);
    till.run("DELETE FROM category WHERE id = 4").await;
    assert_eq!(shop.noted().await, ["3 L 100", "2 D 4"]);
    till.run("DELETE FROM category WHERE id = 1").await;
    let mut noted = shop.noted().await;
    noted.sort();
    assert_eq!(noted, ["2 D 1", "2 L 2", "2 L 3", "3 L 101", "3 L 103"]);
}

#[tokio::test]
async fn a_filter_is_asked_of_the_database_for_each_row() {
    let Some(mut shop) = shop(SALES).await else { return };
    let mut sales = shop.bound("sales", 1).await;
    sales.filter = Some("total > 5 AND code <> {site} OR code = '?' OR {site} = code".to_owned());
    shop.install(std::slice::from_ref(&sales)).await;
    let mut till = shop.till().await;
    till.run("INSERT INTO sales VALUES (1, 'a', 6), (2, 'b', 5), (3, NULL, 9), (4, '?', 0), (5, 'north', 0)").await;
    let rows = shop.rows(&sales, &keys(&["1", "2", "3", "4", "5", "6"])).await;
    let captured: Vec<bool> = rows.iter().map(|read| read.is_captured).collect();
    assert_eq!(captured, [true, false, false, true, true]);
    shop.driver.begin_read(&[]).await.unwrap();
    let page = shop.driver.page(&sales, Some(&key(&["3"])), 9).await.unwrap();
    assert_eq!(page.iter().map(|read| read.is_captured).collect::<Vec<_>>(), [true, true]);
    shop.driver.end_read().await.unwrap();
}
