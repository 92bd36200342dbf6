//! Peers that are connected, and silent: links that carry nothing or one way only, and processes that stand still.

use std::time::Instant;

use branchline_tests::proxy::{Faults, Proxy};
use branchline_tests::{Office, converge, converge_within, eventually, is_long};

use super::{Measured, branch, connected, holds, listening, office, outage, sell};

/// A head office with two branches, north by a good cable and south by one to be spoilt.
struct World {
    // Dropped last.
    head: Office,
    north: Office,
    south: Office,
    cable: Proxy,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut head = office(folder.path(), "head");
        head.start();
        let cable = Proxy::to(listening(&head, "tcp"));
        let direct = format!("/ip4/127.0.0.1/tcp/{}", listening(&head, "tcp").port());
        let north = branch(folder.path(), "north", &head, &direct);
        let south = branch(folder.path(), "south", &head, &cable.multiaddr());
        sell(&head, 0..1);
        converge(&[&head, &north, &south]);
        Self { head, north, south, cable, _folder: folder }
    }

    /// Head and north write and hear each other for the time of an outage; returns how many each wrote.
    fn others_work_on(&self) -> usize {
        let started = Instant::now();
        let mut count = 1;
        sell(&self.north, 0..1);
        while started.elapsed() < outage() {
            for (writer, reader) in [(&self.head, &self.north), (&self.north, &self.head)] {
                sell(writer, count..count + 1);
                let id = format!("sale-{count}");
                eventually(&format!("{} hears {}", reader.name, writer.name), || {
                    reader.has(&writer.name, &id)
                });
            }
            count += 1;
        }
        count
    }

    fn all_have(&self, count: usize) {
        let all = [&self.head, &self.north, &self.south];
        let took = converge_within(&all, branchline_tests::DEADLINE * 2);
        println!("converged {took:?} later");
        for office in all {
            assert!(holds(office, &self.head, count) && holds(office, &self.north, count));
        }
    }
}

#[test]
fn a_link_that_stops_carrying_holds_up_nobody_else() {
    let world = World::new();
    let others = [&world.head, &world.north];
    let before = Measured::of(&others);
    world.cable.spoil(Faults::SILENT);
    let count = world.others_work_on();
    println!("{count} sales of each while south's link was silent for {:?}", outage());
    if is_long() {
        assert_eq!(connected(&world.head), 1, "a dead link is still taken for one");
    }
    before.has_stayed(&others, "a silent link");
    world.cable.mend();
    world.all_have(count);
}

#[test]
fn a_process_that_stands_still_holds_up_nobody_else() {
    let world = World::new();
    let others = [&world.head, &world.north];
    let before = Measured::of(&others);
    world.south.signal("STOP");
    let count = world.others_work_on();
    println!("{count} sales of each while south stood still for {:?}", outage());
    before.has_stayed(&others, "a process that stands still");
    world.south.signal("CONT");
    world.all_have(count);
}

#[test]
fn a_link_that_carries_one_way_only_converges_when_it_heals() {
    let world = World::new();
    let all = [&world.head, &world.north, &world.south];
    let before = Measured::of(&all);
    let (mut count, mut sold) = (0, 0);
    for (stalled_there, stalled_back) in [(true, false), (false, true)] {
        world.cable.spoil(Faults { stalled_there, stalled_back, ..Faults::default() });
        sell(&world.south, sold..sold + 5);
        sold += 5;
        if count == 0 {
            count = world.others_work_on();
        }
        world.cable.mend();
        world.all_have(count);
        assert!(all.iter().all(|office| holds(office, &world.south, sold)));
    }
    before.has_stayed(&all, "a link that carries one way only");
}
