//! `kill -9` of a whole node at any request of a full run of a sink to Weaviate: before the server has carried it out, after
//! that and before the answer, or while nothing is under way. In the end everything is there, once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use branchline_tests::disk::Random;
use branchline_tests::weaviate::Server;
use branchline_tests::{Office, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

const SEED: u64 = 16;
const ORDERS: u64 = 120;
const CUSTOMERS: u64 = 12;
/// Kills for each server: one that keeps equal edges apart, and one that does not.
const KILLS: u64 = 5;
/// Requests of a full run, to both servers alike: fewer than there are.
const REQUESTS: u64 = 30;

fn configure(office: &Office, server: &Server) {
    let text = format!(
        "[[sink]]\nname = \"search\"\nkind = \"weaviate\"\nurl = \"{}\"\nallow = [\"127.0.0.1\"]\nbatch = 8\n\
         retry = {{ first = \"10ms\", max_delay = \"50ms\" }}\n\
         [[sink.object]]\ncollection = \"customers\"\nclass = \"Customer\"\ntranslate = \"{{ name }}\"\n\
         [[sink.object]]\ncollection = \"orders\"\nclass = \"Order\"\ntranslate = \"{{ ref }}\"\n\
         [[sink.edge]]\ncollection = \"orders\"\nproperty = \"hasCustomer\"\nfield = \"customers\"\nto = \"customers\"\n",
        server.url()
    );
    fs::write(office.data.join("branchline.toml"), text).unwrap();
}

/// An order has two customers.
fn customers_of(order: u64) -> [u64; 2] {
    [order % CUSTOMERS, (order + 1) % CUSTOMERS]
}

fn fill(office: &Office) {
    let (mut customers, mut orders) = (String::new(), String::new());
    for number in 0..CUSTOMERS {
        writeln!(
            customers,
            "{}",
            json!({ "id": format!("c{number}"), "name": format!("Customer {number}") })
        )
        .unwrap();
    }
    for number in 0..ORDERS {
        let of = customers_of(number).map(|customer| format!("c{customer}"));
        let order =
            json!({ "id": format!("o{number}"), "ref": format!("R{number}"), "customers": of });
        writeln!(orders, "{order}").unwrap();
    }
    for (collection, lines) in [("customers", customers), ("orders", orders)] {
        let file = office.data.with_extension(format!("{collection}.jsonl"));
        fs::write(&file, lines).unwrap();
        office.run(["import", collection, file.to_str().unwrap(), "--id", "id"]).ok();
    }
}

fn sink(office: &Office) -> Value {
    office.get("/v1/sinks/search")
}

/// The orders at the server by their reference, each with the names of those that its edges lead to.
fn found(server: &Server) -> BTreeMap<String, Vec<String>> {
    let there = server.there();
    let name = |beacon: &String| {
        let id = beacon.rsplit('/').next().unwrap_or_default().to_owned();
        let customer = there.objects.get(&("Customer".to_owned(), id));
        customer
            .map_or_else(|| format!("nobody: {beacon}"), |customer| customer["name"].to_string())
    };
    let order = |((class, id), order): (&(String, String), &Value)| {
        let edges = there.edges.get(&(class.clone(), id.clone(), "hasCustomer".to_owned()));
        let mut names: Vec<String> = edges.into_iter().flatten().map(name).collect();
        names.sort();
        (order["ref"].as_str().unwrap_or_default().to_owned(), names)
    };
    there.objects.iter().filter(|((class, _), _)| class == "Order").map(order).collect()
}

fn expected(orders: &BTreeMap<u64, [u64; 2]>) -> BTreeMap<String, Vec<String>> {
    let order = |(number, customers): (&u64, &[u64; 2])| {
        let mut names: Vec<String> =
            customers.iter().map(|customer| format!("\"Customer {customer}\"")).collect();
        names.sort();
        (format!("R{number}"), names)
    };
    orders.iter().map(order).collect()
}

#[test]
fn a_node_killed_at_any_request_has_everything_there_once_in_the_end() {
    for is_old in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start();
        server.there().trouble.is_old = is_old;
        let mut office = Office::init(PROGRAM, folder.path(), "head", true);
        let mut orders: BTreeMap<u64, [u64; 2]> =
            (0..ORDERS).map(|order| (order, customers_of(order))).collect();
        office.start();
        fill(&office);
        configure(&office, &server);
        office.run(["reload"]).ok();
        let mut random = Random(SEED);
        let mut kills = [0; 3];
        for round in 0..KILLS {
            // The first is killed while it sends for the first time.
            if round > 0 {
                office.run(["sink", "run", "search", "--full"]).ok();
            }
            let kind = random.below(3) as usize;
            match kind {
                2 => std::thread::sleep(Duration::from_millis(random.below(300))),
                _ => {
                    server.hold(random.below(REQUESTS) as usize, kind == 0);
                    eventually("the request is held up", || server.is_holding());
                }
            }
            // Its records change meanwhile: one goes, another leads elsewhere.
            let (gone, moved) = (round * 7, round * 7 + 1);
            office.run(["delete", "orders", &format!("o{gone}")]).ok();
            orders.remove(&gone);
            let to = [round % CUSTOMERS, (round + 5) % CUSTOMERS];
            let fields = json!({ "customers": to.map(|customer| format!("c{customer}")) });
            office.run(["patch", "orders", &format!("o{moved}"), &fields.to_string()]).ok();
            orders.insert(moved, to);
            office.kill();
            server.let_go();
            kills[kind] += 1;
            office.start();
        }
        eventually("all that was asked for is done", || {
            let jobs = office.get("/v1/jobs");
            let jobs = jobs["jobs"].as_array().cloned().unwrap_or_default();
            let sink = sink(&office);
            jobs.iter().all(|job| job["state"] == "completed")
                && sink["state"] == "waiting"
                && sink["dirty"] == 0
        });
        assert_eq!(found(&server), expected(&orders), "an old server: {is_old}, {kills:?}");
        assert_eq!(server.there().objects.len() as u64, CUSTOMERS + ORDERS - KILLS);
        println!(
            "{KILLS} kills (before, after, between requests: {kills:?}) of a server that is old: {is_old}"
        );
    }
}
