//! A sink keeps records in a Weaviate: objects, and two edges from each; all once, all once more, and then what has changed. A
//! real process, and a server in this one.

use std::fmt::Write;
use std::time::Instant;

use branchline_tests::Office;
use branchline_tests::process::{Gauge, cpu_seconds};
use branchline_tests::weaviate::Server;
use serde_json::json;

use crate::Bench;
use crate::report::{Figures, Work};

/// Edges that begin at each object.
const EDGES: usize = 2;
const RUN: &[&str] = &["sink", "run", "search", "--wait"];
const RUN_FULL: &[&str] = &["sink", "run", "search", "--full", "--wait"];
/// What is run. The sink is configured while the node runs, and begins by itself when it is taken up.
const FORMS: [(&str, &[&[&str]]); 3] = [
    ("first run", &[&["reload"], RUN]),
    ("full run, all once more", &[RUN_FULL]),
    ("nothing has changed", &[RUN]),
];

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    let mut runs: [Vec<Figures>; 3] = Default::default();
    for _ in 0..bench.runs {
        let server = Server::start();
        let folder = bench.folder("weaviate");
        let mut office = bench.office(&folder, "head");
        let products = folder.join("products.jsonl");
        std::fs::write(&products, lines(records)).expect("a file");
        let products = products.to_str().expect("a path");
        office.run(["import", "products", products, "--id", "id"]).ok();
        office.start();
        std::fs::write(office.data.join("branchline.toml"), config(&server))
            .expect("a configuration");
        for (runs, (_, commands)) in runs.iter_mut().zip(FORMS) {
            runs.push(push(&office, &server, commands, records));
        }
        office.stop();
    }
    for ((form, _), runs) in FORMS.iter().zip(&runs) {
        bench.report.add(&Work { job: "weaviate", form, records, by: "process" }, runs);
    }
}

fn push(office: &Office, server: &Server, commands: &[&[&str]], records: usize) -> Figures {
    {
        let mut there = server.there();
        (there.asked, there.bytes) = (Vec::new(), 0);
    }
    Gauge::reset_peak(office.pid());
    let cpu_before = cpu_seconds(office.pid()).expect("the node runs");
    let started = Instant::now();
    for command in commands {
        office.run(*command).ok();
    }
    let took = started.elapsed().as_secs_f64();
    let there = server.there();
    assert_eq!(there.objects.len(), records, "objects");
    let doubled = |beacons: &Vec<String>| {
        let mut once = beacons.clone();
        once.sort();
        once.dedup();
        beacons.len() - once.len()
    };
    let doubles: usize = there.edges.values().map(doubled).sum();
    assert_eq!(there.edges_in_all() - doubles, records * EDGES, "edges");
    let (objects, edges) = (there.count("/v1/batch/objects"), there.count("/v1/batch/references"));
    vec![
        ("seconds", took),
        ("cpu_s", cpu_seconds(office.pid()).expect("the node runs") - cpu_before),
        ("doubles", doubles as f64),
        ("requests", there.asked.len() as f64),
        ("requests_objects", objects as f64),
        ("requests_edges", edges as f64),
        ("mib_sent", there.bytes as f64 / 1_048_576.0),
        ("peak_mib", Gauge::of(office.pid()).peak_kib as f64 / 1_024.0),
    ]
}

/// Products, each like two others.
fn lines(records: usize) -> String {
    let mut lines = String::new();
    for number in 0..records {
        let like = |step: usize| format!("p{:07}", (number + step) % records);
        let product = json!({
            "id": format!("p{number:07}"),
            "name": format!("Product {number} of the catalogue"),
            "text": "Green tea of the second harvest, from gardens above the clouds; brew it at 80 degrees for two minutes.",
            "price": number * 7 % 1_000,
            "like": [like(1), like(7)],
        });
        writeln!(lines, "{product}").expect("a string takes all");
    }
    lines
}

fn config(server: &Server) -> String {
    format!(
        "[[sink]]\nname = \"search\"\nkind = \"weaviate\"\nurl = \"{}\"\nallow = [\"127.0.0.1\"]\n\
         [[sink.object]]\ncollection = \"products\"\nclass = \"Product\"\ntranslate = \"{{ name, text, price }}\"\n\
         [[sink.edge]]\ncollection = \"products\"\nproperty = \"isLike\"\nfield = \"like\"\nto = \"products\"\n",
        server.url()
    )
}
