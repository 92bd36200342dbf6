//! Questions on the command line: filters, orders, summaries, and the indexes that serve them.

use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

const RECORDS: usize = 3_000;

/// A running head office with sales, and a schema file that indexes them.
fn head(folder: &std::path::Path) -> Office {
    let mut head = Office::init(PROGRAM, folder, "head", true);
    let sale = |number: usize| {
        let branch = ["Bago", "Yangon", "Lashio"][number % 3];
        let price = format!("{}.{:02}", number % 70, number % 100);
        format!("S-{number:04},{branch},{price},{}\n", number % 12)
    };
    let sales: String = (0..RECORDS).map(sale).collect();
    let file = folder.join("sales.csv");
    std::fs::write(&file, format!("id,branch,price,quantity\n{sales}")).unwrap();
    head.start();
    let file = file.to_str().unwrap();
    head.run(["import", "sales", file, "--id", "id"]).ok();
    head
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What a list gives, and how many records the site looked at for it.
fn list(office: &Office, path: &str) -> (Vec<Value>, u64) {
    let answer = office.get(&format!("/v1/records/sales?limit=1000&{path}"));
    (answer["records"].as_array().unwrap().clone(), answer["scanned"].as_u64().unwrap())
}

#[test]
fn records_are_found_put_in_order_and_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    let head = head(folder.path());
    let found =
        ["--json", "list", "sales", "--where", "branch = 'Bago' and price >= 60", "--order"];
    let found = lines(&head.run([&found[..], &["-price,branch", "--limit", "2000"]].concat()).ok());
    let prices: Vec<f64> = found
        .iter()
        .map(|record| record["fields"]["price"].as_str().unwrap().parse().unwrap())
        .collect();
    let expected = |n: &usize| n.is_multiple_of(3) && n % 70 >= 60;
    assert_eq!(prices.len(), (0..RECORDS).filter(expected).count());
    assert!(prices.is_sorted_by(|a, b| a >= b));

    let reported = head.run(["list", "sales", "--order", "-price", "--limit", "2"]);
    let more =
        reported.stderr.split_once("--after ").expect("a cursor").1.split(' ').next().unwrap();
    let by_price = ["--json", "list", "sales", "--order", "-price", "--limit"];
    let first = lines(&head.run([&by_price[..], &["3"]].concat()).ok());
    let behind = lines(&head.run([&by_price[..], &["1", "--after", more]].concat()).ok());
    assert_eq!(behind[..], first[2..], "the cursor is behind the second");
    let other = ["list", "sales", "--order", "price", "--after", more];
    assert!(head.run(other).fails(1).contains("another query"));

    let summary = ["--json", "summary", "sales", "--by", "branch", "--sum", "price,quantity"];
    let groups = lines(&head.run(summary).ok());
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[0]["by"], json!({"branch": "Bago"}));
    let cents = |n: usize| (n % 70 * 100 + n % 100) as u64;
    let sum: u64 = (0..RECORDS).step_by(3).map(cents).sum();
    assert_eq!(groups[0]["sum"]["price"], format!("{}.{:02}", sum / 100, sum % 100));
    let quantity: usize = (0..RECORDS).step_by(3).map(|n| n % 12).sum();
    assert_eq!(groups[0]["sum"]["quantity"], quantity);

    let wrong = head.run(["list", "sales", "--where", "quantity > 'two'"]).fails(2);
    assert!(wrong.contains("quantity > 'two'\n             ^"), "{wrong}");
    let wrong = head.run(["summary", "sales", "--sum", "branch"]).fails(2);
    assert!(wrong.contains("declared as string"), "{wrong}");
}

#[test]
fn exact_times_are_compared_as_time_and_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let schema = file("schema.json", r#"{"calls": {"at": "datetime indexed"}}"#);
    head.run(["schema", "apply", &schema]).ok();
    for (id, at) in [
        ("1", "2024-01-01T00:00:05.50Z"),
        ("2", "2024-01-01 02:00:05.45+02:00"),
        ("3", "2024-01-01T00:00:10z"),
        ("4", "2024-01-01T00:00:05.5"),
    ] {
        head.run(["put", "calls", id, &json!({ "at": at }).to_string()]).ok();
    }
    let error = head.run(["put", "calls", "5", r#"{"at": "2016-12-31T23:59:60Z"}"#]).fails(1);
    assert!(error.contains("datetime") && error.contains("leap second"), "{error}");
    eventually("the index is built", || head.status()["indexes"][0]["state"] == "ready");
    let listed = |arguments: &[&str]| {
        let found = lines(&head.run([&["--json", "list", "calls"][..], arguments].concat()).ok());
        let shown = |record: &Value| record["fields"]["at"].as_str().unwrap().to_owned();
        found.iter().map(shown).collect::<Vec<_>>()
    };
    let times = [
        "2024-01-01T00:00:05.45Z",
        "2024-01-01T00:00:05.5Z",
        "2024-01-01T00:00:05.5",
        "2024-01-01T00:00:10Z",
    ];
    assert_eq!(listed(&["--order", "at"]), times);
    assert_eq!(
        listed(&["--where", "at > '2024-01-01T00:00:05.5Z'", "--order", "-at"]),
        [times[3], times[2]]
    );
    assert_eq!(listed(&["--where", "at = '2024-01-01T01:00:05.500+01:00'"]), [times[1]]);
    let wrong = head.run(["list", "calls", "--where", "at > '2024'"]).fails(2);
    assert!(wrong.contains("declared as datetime"), "{wrong}");
    let summary =
        lines(&head.run(["--json", "summary", "calls", "--min", "at", "--max", "at"]).ok());
    assert_eq!(
        (&summary[0]["min"]["at"], &summary[0]["max"]["at"]),
        (&json!(times[0]), &json!(times[3]))
    );

    // What is exported changes nothing, and another file with the same moments neither.
    let out = folder.path().join("out.csv").to_str().unwrap().to_owned();
    head.run(["export", "calls", "-o", &out]).ok();
    let again = file(
        "again.csv",
        "_id,at\n1,2024-01-01T01:00:05.500000+01:00\n4,2024-01-01 00:00:05.500\n",
    );
    for (path, records) in [(&out, 4), (&again, 2)] {
        let reported = head.run(["--json", "import", "calls", path, "--id", "_id"]).ok();
        let reported: Value = serde_json::from_str(&reported).unwrap();
        assert_eq!(
            (&reported["unchanged"], &reported["rejected"]),
            (&json!(records), &json!(0)),
            "{reported}"
        );
    }
    // What a first import finds finer than milliseconds, or without a zone, is declared so.
    let first = file(
        "first.csv",
        "id,fine,local,rough,other\n\
         1,2024-01-01T00:00:00.000001Z,2024-01-01T00:00:00.5,2024-01-01T00:00:00Z,2024-01-01T00:00:00+01:00\n\
         2,2024-01-01T00:00:00Z,2024-01-01T00:00:00,2024-01-01T00:00:00.123Z,2024-01-01T00:00:00Z\n",
    );
    head.run(["import", "first", &first, "--id", "id"]).ok();
    assert_eq!(
        head.get("/v1/schemas/first"),
        json!({"fine": "datetime", "id": "string", "local": "datetime", "rough": "timestamp", "other": "string"})
    );
}

#[test]
fn a_field_that_nobody_knows_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let head = head(folder.path());
    let is_named = |question: &[&str], field: &str| {
        let reported = head.run(question).stderr;
        reported.contains(&format!("no record that was looked at has a field {field:?}"))
    };
    assert!(is_named(&["list", "sales", "--where", "prise > 1"], "prise"));
    assert!(is_named(&["list", "sales", "--where", "price > 1 or prise > 1"], "prise"));
    assert!(is_named(&["--json", "list", "sales", "--where", "price > 1 or prise > 1"], "prise"));
    assert!(is_named(&["summary", "sales", "--sum", "quantitty"], "quantitty"));
    assert!(is_named(&["summary", "sales", "--by", "brunch"], "brunch"));
    assert!(!is_named(&["list", "sales", "--where", "price > 100000"], "price"));
    assert!(!is_named(&["summary", "sales", "--by", "branch", "--sum", "price"], "price"));
}

#[test]
fn what_a_list_says_of_its_next_page_can_be_typed() {
    let folder = tempfile::tempdir().unwrap();
    let head = head(folder.path());
    let two = ["list", "sales", "--limit", "2", "--where", "branch = 'Bago'"];
    let said = head.run(two).stderr;
    let said = said.split('`').nth(1).expect("a command");
    let data = head.data.display();
    let words = format!(r"branchline --data {data} list sales --where 'branch = '\''Bago'\'''");
    assert!(said.starts_with(&words), "{said}");
    assert!(said.contains(" --after ") && said.ends_with(" --limit 2"), "{said}");
}

#[test]
fn an_index_is_built_while_the_site_runs_and_outlives_restart_and_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    let question = "where=branch%20%3D%20'Bago'%20and%20price%20%3D%2042.42";
    let (expected, scanned) = list(&head, question);
    assert_eq!(scanned, RECORDS as u64);
    let schema = folder.path().join("schema.json");
    let fields =
        json!({"sales": {"branch": "string", "price": "decimal indexed", "quantity": "integer"}});
    std::fs::write(&schema, fields.to_string()).unwrap();
    head.run(["schema", "apply", schema.to_str().unwrap()]).ok();
    let is_ready = |head: &Office| head.status()["indexes"][0]["state"] == "ready";
    let uses_it = |head: &Office| {
        let (found, scanned) = list(head, question);
        assert_eq!(found, expected);
        assert!(scanned < 100, "{scanned} records were looked at");
    };
    eventually("the index is built", || is_ready(&head));
    uses_it(&head);
    head.kill();
    head.start();
    eventually("the index is there", || is_ready(&head));
    uses_it(&head);
    head.run(["rebuild"]).ok();
    eventually("the index is rebuilt", || is_ready(&head));
    uses_it(&head);
}
