//! Four offices on a switch, each a machine of its own as the kernel sees it: cables that are pulled out, packets that
//! are lost without a word, addresses that change. Where the machine permits no network namespaces these say so; the
//! proxies of the other files then stand alone.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use branchline_tests::netns::Switch;
use branchline_tests::{Office, converge_within, eventually};

use super::{Measured, PROGRAM, holds, outage, sell};

const OFFICES: [&str; 4] = ["head", "north", "south", "west"];
/// Redials pause for up to a minute, and a dead connection is noticed after about as long.
const HEAL_DEADLINE: Duration = Duration::from_secs(240);

struct World {
    offices: Vec<Office>,
    switch: Switch,
    _folder: tempfile::TempDir,
}

impl World {
    /// `None` where this machine does not permit it.
    fn new(listen: &[&str]) -> Option<Self> {
        let switch = match Switch::new(OFFICES.len()) {
            Ok(switch) => switch,
            Err(reason) => {
                // Past the capture of passing tests: nobody shall take this for a pass.
                let said =
                    format!("NOT RUN, proxies stand alone: no network namespaces: {reason}\n");
                std::io::stderr().write_all(said.as_bytes()).unwrap();
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let start = |(number, name): (usize, &&str)| {
            let mut office = init(folder.path(), name, &switch, number);
            let listen = listen.iter().flat_map(|address| ["--listen", address]);
            office.start_with(&listen.chain(["--no-mdns"]).collect::<Vec<_>>());
            office
        };
        let offices: Vec<_> = OFFICES.iter().enumerate().map(start).collect();
        for office in &offices[1..] {
            office.join(&offices[0]);
            eventually("it is a member", || office.status()["member"] == true);
        }
        let world = Self { offices, switch, _folder: folder };
        sell(&world.offices[0], 0..1);
        world.converge();
        Some(world)
    }

    fn all(&self) -> Vec<&Office> {
        self.offices.iter().collect()
    }

    fn converge(&self) -> Duration {
        converge_within(&self.all(), HEAL_DEADLINE)
    }

    /// Everybody sells until the outage is over; returns how much each has sold since the beginning.
    fn sell_on(&self, from: usize) -> usize {
        let started = Instant::now();
        let mut count = from;
        while started.elapsed() < outage() || count == from {
            for office in &self.offices {
                sell(office, count..count + 1);
            }
            count += 1;
        }
        count
    }

    fn all_hold(&self, count: usize) {
        for (office, of) in
            self.offices.iter().flat_map(|a| self.offices.iter().map(move |b| (a, b)))
        {
            assert!(holds(office, of, count), "{} lacks sales of {}", office.name, of.name);
        }
    }
}

fn init(folder: &Path, name: &str, switch: &Switch, number: usize) -> Office {
    let office = Office::init(PROGRAM, folder, name, number == 0);
    office.within(switch.namespace(number))
}

#[test]
fn a_cable_that_is_pulled_out_and_plugged_in_again() {
    let Some(world) = World::new(&["/ip4/0.0.0.0/tcp/4747"]) else { return };
    let before = Measured::of(&world.all());
    sell(&world.offices[1], 0..1);
    sell(&world.offices[2], 0..1);
    sell(&world.offices[3], 0..1);
    world.switch.set_cable(2, false);
    let count = world.sell_on(1);
    world.switch.set_cable(2, true);
    println!("TCP, a cable out for {:?}: converged {:?} later", outage(), world.converge());
    world.all_hold(count);
    before.has_stayed(&world.all(), "a cable pulled out");
}

#[test]
fn packets_that_are_lost_one_way_only() {
    let listen = ["/ip4/0.0.0.0/tcp/4747", "/ip4/0.0.0.0/udp/4747/quic-v1"];
    let Some(world) = World::new(&listen) else { return };
    let before = Measured::of(&world.all());
    for office in &world.offices[1..] {
        sell(office, 0..1);
    }
    // South hears everybody, and nobody hears south.
    for other in [0, 1, 3] {
        world.switch.lose(2, other);
    }
    let count = world.sell_on(1);
    for other in [0, 1, 3] {
        world.switch.lose_no_more(2, other);
    }
    println!("one way lost for {:?}: converged {:?} later", outage(), world.converge());
    world.all_hold(count);
    before.has_stayed(&world.all(), "one way lost");
}

#[test]
fn an_office_that_changes_its_address() {
    let listen = ["/ip4/0.0.0.0/tcp/4747", "/ip4/0.0.0.0/udp/4747/quic-v1"];
    let Some(world) = World::new(&listen) else { return };
    let before = Measured::of(&world.all());
    for office in &world.offices[1..] {
        sell(office, 0..1);
    }
    let address = world.switch.move_office(3, 33);
    for office in &world.offices {
        sell(office, 1..2);
    }
    println!("an office on a new address: converged {:?} later", world.converge());
    world.all_hold(2);
    eventually("the others know the new address", || {
        world.offices[0].run(["--json", "peers"]).ok().contains(&address)
    });
    before.has_stayed(&world.all(), "a new address");
}
