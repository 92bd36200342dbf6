//! Faults of cables between a head office and its branches.

use std::thread;
use std::time::{Duration, Instant};

use branchline_tests::proxy::udp::UdpProxy;
use branchline_tests::proxy::{Faults, Proxy};
use branchline_tests::{converge, converge_within, eventually, is_long};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Measured, branch, connected, holds, listening, office, sell};

const QUIC: [&str; 3] = ["--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--no-mdns"];
/// Slow links may take this long for some kilobytes; they are given time, not measured.
const SLOW_DEADLINE: Duration = Duration::from_secs(240);

#[test]
fn links_that_are_never_still_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let cables: Vec<_> = (0..3).map(|_| Proxy::to(listening(&head, "tcp"))).collect();
    let branches: Vec<_> = ["north", "south", "west"]
        .iter()
        .zip(&cables)
        .map(|(name, cable)| branch(folder.path(), name, &head, &cable.multiaddr()))
        .collect();
    let all = [&head, &branches[0], &branches[1], &branches[2]];
    sell(&head, 0..1);
    converge(&all);
    let before = Measured::of(&all);
    let mut random = SmallRng::seed_from_u64(7);
    thread::scope(|scope| {
        let writers: Vec<_> =
            branches.iter().map(|branch| scope.spawn(|| sell(branch, 0..40))).collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            let cable = &cables[random.random_range(0..cables.len())];
            match random.random_range(0..3) {
                0 => cable.reset(),
                1 => cable.cut(),
                _ => cable.mend(),
            }
            thread::sleep(Duration::from_millis(random.random_range(1..400)));
        }
    });
    cables.iter().for_each(Proxy::mend);
    let took = converge_within(&all, SLOW_DEADLINE);
    println!("three flapping links: converged {took:?} after they were still");
    for (office, of) in all.iter().flat_map(|a| branches.iter().map(move |b| (a, b))) {
        assert!(holds(office, of, 40), "{} lacks sales of {}", office.name, of.name);
    }
    before.has_stayed(&all, "three flapping links");
}

#[test]
fn reconnects_leave_nothing_behind() {
    let rounds = if is_long() { 1_000 } else { 25 };
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let cable = Proxy::to(listening(&head, "tcp"));
    let north = branch(folder.path(), "north", &head, &cable.multiaddr());
    sell(&head, 0..1);
    converge(&[&head, &north]);
    let before = Measured::of(&[&head, &north]);
    let started = Instant::now();
    let first = cable.connections();
    for round in 0..rounds {
        let connections = cable.connections();
        cable.reset();
        eventually(&format!("connection {round} is made"), || {
            cable.connections() > connections && connected(&head) == 1 && connected(&north) == 1
        });
    }
    println!("{} reconnects in {:?}", cable.connections() - first, started.elapsed());
    sell(&north, 0..1);
    converge(&[&head, &north]);
    before.has_stayed(&[&head, &north], &format!("{rounds} cut connections"));
}

#[test]
fn slow_and_lossy_links_converge_over_quic() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start_with(&QUIC);
    let cables = [0, 1].map(|_| UdpProxy::to(listening(&head, "udp")));
    let names = ["north", "south"];
    let branches =
        [0, 1].map(|at| branch(folder.path(), names[at], &head, &cables[at].multiaddr()));
    let all = [&head, &branches[0], &branches[1]];
    sell(&head, 0..1);
    converge(&all);
    let before = Measured::of(&all);
    // A bad mobile link: 200 ms there and back, 64 kbit/s, one packet of five lost, some overtaking others.
    let bad = Faults {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(50),
        bytes_per_s_max: Some(8_000),
        loss_percent: 20,
        ..Faults::default()
    };
    for cable in &cables {
        cable.spoil(bad);
        cable.take_bytes();
    }
    let started = Instant::now();
    thread::scope(|scope| {
        for branch in &branches {
            scope.spawn(|| sell(branch, 0..50));
        }
    });
    let wrote = started.elapsed();
    let took = converge_within(&all, SLOW_DEADLINE);
    for office in all {
        assert!(branches.iter().all(|branch| holds(office, branch, 50)), "{}", office.name);
    }
    let bytes = cables.each_ref().map(UdpProxy::take_bytes);
    let lost = cables.each_ref().map(UdpProxy::lost);
    println!(
        "QUIC, 20 % loss, 200 ms, 64 kbit/s: 100 sales written in {wrote:?}, everywhere {took:?} later; \
         {bytes:?} bytes carried, {lost:?} packets lost"
    );
    before.has_stayed(&all, "slow and lossy links");
}

#[test]
fn a_slow_link_over_tcp_converges_and_a_fast_one_beside_it_is_not_held_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let (slow, fast) = (Proxy::to(listening(&head, "tcp")), Proxy::to(listening(&head, "tcp")));
    let north = branch(folder.path(), "north", &head, &slow.multiaddr());
    let south = branch(folder.path(), "south", &head, &fast.multiaddr());
    let all = [&head, &north, &south];
    sell(&head, 0..1);
    converge(&all);
    let before = Measured::of(&all);
    let (delay, bytes_per_s_max) = (Duration::from_millis(100), Some(8_000));
    slow.spoil(Faults { delay, bytes_per_s_max, ..Faults::default() });
    slow.take_bytes();
    let mut csv = "id,content\n".to_owned();
    for row in 0..600_u64 {
        csv.push_str(&format!("{row},{:016x}\n", row.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    }
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, csv).unwrap();
    head.run(["import", "rows", file.to_str().unwrap(), "--id", "id"]).ok();
    eventually("the fast branch has the rows", || south.count("rows") == 600);
    let took = converge_within(&all, SLOW_DEADLINE);
    let bytes = slow.take_bytes();
    println!("TCP, 200 ms, 64 kbit/s: 600 rows after {took:?}, {bytes} bytes carried");
    assert_eq!(north.count("rows"), 600);
    before.has_stayed(&all, "a slow link");
}
