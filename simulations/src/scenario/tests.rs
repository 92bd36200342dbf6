//! Scenario files: the shipped ones, and what people get wrong.

use super::*;

const GOOD: &str = r#"
about = "two shops"
offices = ["head", "north", "south"]
duration = "1d"

[workload]
writes_per_hour = 10

[[workload.collection]]
name = "products"
records = 10
"#;

fn with(addition: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("mine", &format!("{GOOD}{addition}"))
}

fn fault(lines: &str) -> Scenario {
    with(&format!("[[fault]]\n{lines}\n")).unwrap()
}

#[track_caller]
fn assert_wrong(text: &str, line: usize, parts: &[&str]) {
    let error = Scenario::parse("mine", text).unwrap_err();
    let shown = error.to_string();
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(line), "{shown}");
    for part in parts {
        assert!(shown.contains(part), "{part:?} is not in: {shown}");
    }
}

#[track_caller]
fn assert_wrong_fault(lines: &str, line: usize, parts: &[&str]) {
    let head = GOOD.lines().count() + 1;
    assert_wrong(&format!("{GOOD}[[fault]]\n{lines}\n"), head + line, parts);
}

#[test]
fn every_shipped_scenario_reads_and_tells_what_it_is_about() {
    for shipped in SHIPPED {
        let scenario =
            Scenario::parse(shipped.name, shipped.text).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.about.len() > 60, "{}: {}", scenario.name, scenario.about);
        assert!(!scenario.occurrences(1).is_empty(), "{}: nothing goes wrong", scenario.name);
    }
}

#[test]
fn every_kind_of_fault_is_shipped() {
    let mut shipped = std::collections::BTreeSet::new();
    for file in SHIPPED {
        let scenario = Scenario::parse(file.name, file.text).unwrap();
        shipped.extend(scenario.faults.iter().map(|fault| fault.kind.name()));
        shipped.extend(scenario.mixtures.iter().flat_map(|mixture| mixture.kinds.clone()));
    }
    assert_eq!(shipped.len(), FaultName::ALL.len());
}

#[test]
fn every_file_of_the_folder_is_shipped() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut shipped: Vec<_> = SHIPPED.iter().map(|s| format!("{}.toml", s.name)).collect();
    shipped.sort();
    assert_eq!(files, shipped);
}

#[test]
fn the_three_day_outage_of_office_7_is_what_it_says() {
    let scenario = load("office-outage").unwrap();
    assert_eq!(scenario.offices.len(), 12);
    let occurrences = scenario.occurrences(7);
    assert_eq!(occurrences.len(), 1);
    let [Occurrence { begins_ms, ends_ms: Some(ends_ms), kind: FaultKind::Isolate { offices } }] =
        occurrences.as_slice()
    else {
        panic!("{occurrences:?}");
    };
    assert_eq!(ends_ms - begins_ms, 3 * DAY_MS);
    assert_eq!(scenario.names(offices), ["office-7"]);
}

#[test]
fn what_is_not_given_is_as_usual() {
    let scenario = with("").unwrap();
    assert_eq!(scenario.links, [(0, 1), (0, 2)]);
    assert_eq!(scenario.quality, LinkQuality::default());
    assert_eq!(scenario.workload.collections[0].mix, Mix::default());
    assert!(scenario.workload.schema);
    assert_eq!(scenario.converge_within_rounds, None);
    let crash = fault("kind = \"crash\"\noffices = [\"north\"]");
    assert_eq!(crash.faults[0].for_ms, Some(10_000));
}

#[test]
fn topologies_link_whom_they_say() {
    let links = |topology: &str| with(&format!("[topology]\n{topology}\n")).unwrap().links;
    assert_eq!(links("shape = \"hub\"\nhub = \"north\""), [(0, 1), (1, 2)]);
    assert_eq!(links("shape = \"chain\""), [(0, 1), (1, 2)]);
    assert_eq!(links("shape = \"ring\""), [(0, 1), (0, 2), (1, 2)]);
    assert_eq!(links("shape = \"mesh\""), [(0, 1), (0, 2), (1, 2)]);
    let own = "shape = \"links\"\nlinks = [[\"south\", \"head\"], [\"north\", \"south\"], [\"head\", \"south\"]]";
    assert_eq!(links(own), [(0, 2), (1, 2)]);
}

#[test]
fn faults_repeat_until_the_scenario_ends() {
    let scenario =
        fault("kind = \"stop\"\noffices = [\"head\"]\nat = \"9h\"\nfor = \"2h\"\nevery = \"7h\"");
    let times: Vec<_> = scenario
        .occurrences(1)
        .iter()
        .map(|occurrence| {
            (occurrence.begins_ms / HOUR_MS, occurrence.ends_ms.map(|ms| ms / HOUR_MS))
        })
        .collect();
    // The third would end when the scenario does, and so lasts to its end.
    assert_eq!(times, [(9, Some(11)), (16, Some(18)), (23, None)]);
}

#[test]
fn chance_follows_the_seed_alone() {
    let scenario = load("everything").unwrap();
    let one = scenario.occurrences(1);
    assert_eq!(one, scenario.occurrences(1));
    assert_ne!(one, scenario.occurrences(2));
    assert_eq!(one.len(), 62);
    assert!(one.is_sorted_by_key(|occurrence| occurrence.begins_ms));
    let within = |occurrence: &Occurrence| {
        let ends_ms = occurrence.ends_ms.unwrap_or(scenario.duration_ms);
        occurrence.begins_ms <= ends_ms && ends_ms <= scenario.duration_ms
    };
    assert!(one.iter().all(within), "{one:#?}");
}

#[test]
fn links_of_an_office_are_all_its_links() {
    let scenario = fault("kind = \"cut\"\noffices = [\"north\"]\nfor = \"1h\"");
    assert_eq!(scenario.faults[0].kind, FaultKind::Cut { links: vec![(0, 1)] });
}

#[test]
fn errors_show_the_place_the_key_and_what_was_expected() {
    let error = Scenario::parse("mine", &GOOD.replace("\"1d\"", "\"three days\"")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "scenario mine, line 4, column 12: found \"three days\", expected a duration up to ten years such as \
         \"40ms\", \"2h30m\" or \"3d\"\n  |\n4 | duration = \"three days\"\n  |            ^"
    );
    assert_wrong(&GOOD.replace("duration", "durations"), 4, &["durations", "duration"]);
    assert_wrong(&GOOD.replace("\"1d\"", "\"-1d\""), 4, &["negative"]);
    assert_wrong(&GOOD.replace("\"1d\"", "\"400d\""), 4, &["key `duration`", "400 d", "366 d"]);
    assert_wrong(&GOOD.replace("= \"1d\"", "= "), 4, &["value"]);
    assert_wrong(&GOOD.replace("two shops", " "), 2, &["key `about`"]);
    assert_wrong(
        &GOOD.replace("[\"head\", \"north\", \"south\"]", "1"),
        3,
        &["found 1", "2 to 100"],
    );
    assert_wrong(&GOOD.replace("[\"head\", \"north\", \"south\"]", "-4"), 3, &["found -4"]);
    assert_wrong(
        &GOOD.replace("[\"head\", \"north\", \"south\"]", "true"),
        3,
        &["a number of offices"],
    );
    assert_wrong(&GOOD.replace("south", "north"), 3, &["\"north\" twice"]);
    assert_wrong(&GOOD.replace("south", "so uth"), 3, &["letters, digits"]);
    assert_wrong(&GOOD.replace("= 10\n\n", "= 1000000\n\n"), 7, &["writes_per_hour", "100000"]);
    assert_wrong(&GOOD.replace("records = 10", "records = 0"), 11, &["records", "found 0"]);
    assert_wrong(&GOOD.replace("products", "_schema"), 10, &["reserved"]);
    assert_wrong(&format!("{GOOD}mix = {{ registers = 0 }}"), 12, &["weight"]);
    assert_wrong(&format!("{GOOD}mix = {{ registers = -1 }}"), 12, &["-1"]);
    assert_wrong(&format!("{GOOD}hot = \"150%\""), 12, &["150%", "100%"]);
    assert_wrong(&format!("{GOOD}[link]\nbandwidth = \"fast\""), 13, &["fast", "Mbit/s"]);
    assert_wrong(&format!("{GOOD}[topology]\nshape = \"star\""), 13, &["star", "hub"]);
    assert_wrong(&format!("{GOOD}[topology]\nshape = \"ring\"\nhub = \"head\""), 14, &["hub"]);
    let island = "[topology]\nshape = \"links\"\nlinks = [[\"head\", \"north\"]]";
    assert_wrong(&format!("{GOOD}{island}"), 3, &["no path of links"]);
    let huge = format!("{GOOD}#{}", "x".repeat(300_000));
    assert!(Scenario::parse("mine", &huge).unwrap_err().message.contains("bytes"));
}

#[test]
fn faults_are_held_to_their_keys_and_names() {
    assert_wrong_fault("kind = \"earthquake\"", 1, &["earthquake", "isolate", "random"]);
    assert_wrong_fault("kind = \"isolate\"", 0, &["key `offices`", "found nothing"]);
    assert_wrong_fault(
        "kind = \"isolate\"\noffices = [\"nroth\"]",
        2,
        &["\"nroth\"", "head, north, south"],
    );
    assert_wrong_fault("kind = \"stop\"\noffices = []", 2, &["found no office"]);
    assert_wrong_fault(
        "kind = \"stop\"\noffices = [\"head\"]\nbits = 3",
        3,
        &["key `bits`", "for, every, offices"],
    );
    assert_wrong_fault("kind = \"split\"\ngroups = [[\"head\"]]", 2, &["two groups"]);
    assert_wrong_fault("kind = \"split\"\ngroups = [[\"head\"], [\"head\"]]", 2, &["twice"]);
    assert_wrong_fault("kind = \"cut\"\nlinks = [[\"north\", \"south\"]]", 2, &["not linked"]);
    assert_wrong_fault("kind = \"cut\"\nlinks = [[\"north\", \"north\"]]", 2, &["itself"]);
    assert_wrong_fault(
        "kind = \"stop\"\noffices = [\"head\"]\nat = \"2d\"",
        3,
        &["key `at`", "2 d"],
    );
    assert_wrong_fault(
        "kind = \"stop\"\noffices = [\"head\"]\nfor = \"2h\"\nevery = \"1h\"",
        4,
        &["key `every`", "longer"],
    );
    assert_wrong_fault("kind = \"stop\"\noffices = [\"head\"]\nevery = \"1h\"", 3, &["`for`"]);
    assert_wrong_fault(
        "kind = \"restore\"\noffices = [\"head\"]\nat = \"1h\"\nage = \"2h\"",
        4,
        &["key `age`", "found 2 h", "1 h"],
    );
    assert_wrong_fault("kind = \"clock\"\noffices = [\"head\"]", 0, &["key `offset`"]);
    assert_wrong_fault("kind = \"join-late\"\noffices = [\"head\"]", 0, &["founds the network"]);
    assert_wrong_fault("kind = \"random\"\nkinds = [\"byzantine\"]", 2, &["byzantine"]);
    assert_wrong_fault("kind = \"random\"\nper_day = 0", 2, &["per_day"]);
    assert_wrong_fault("kind = \"random\"\nwhere = \"here\"", 2, &["where"]);
}

#[test]
fn a_scenario_is_found_by_name_or_path_and_slips_are_forgiven() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ours.toml");
    std::fs::write(&path, GOOD).unwrap();
    assert_eq!(load(path.to_str().unwrap()).unwrap().name, "ours");
    assert!(matches!(
        load("ofice-outage"),
        Err(LoadError::Unknown { suggestion: Some("office-outage"), .. })
    ));
    assert!(matches!(load("zzz"), Err(LoadError::Unknown { suggestion: None, .. })));
    assert!(matches!(load(folder.path().to_str().unwrap()), Err(LoadError::Io { .. })));
}
