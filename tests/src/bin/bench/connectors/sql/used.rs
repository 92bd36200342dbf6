//! What this process and the servers use.

use std::fs;
use std::time::Instant;

use branchline_tests::process::{Gauge, cpu_seconds};

use super::database::Server;

/// Time that a process and all below it have used, with those that have ended.
pub(super) fn below_s(pid: u32) -> f64 {
    let own = cpu_seconds(pid).unwrap_or(0.0);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    own + children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(below_s)
        .sum::<f64>()
}

/// A part of a run that is measured.
pub(super) struct Watch {
    started: Instant,
    own_s: f64,
    server_s: f64,
}

/// What a part of a run took.
pub(super) struct Took {
    pub(super) seconds: f64,
    /// CPU of this process: node and bridge, and SQLite.
    pub(super) own_s: f64,
    /// CPU of the server.
    pub(super) server_s: f64,
    /// Greatest memory of this process, whatever held it.
    pub(super) peak_mib: f64,
}

impl Watch {
    pub(super) fn start(server: &Server) -> Self {
        let pid = std::process::id();
        Gauge::reset_peak(pid);
        let own_s = cpu_seconds(pid).expect("this process runs");
        Self { started: Instant::now(), own_s, server_s: server.cpu_s() }
    }

    pub(super) fn stop(self, server: &Server) -> Took {
        let seconds = self.started.elapsed().as_secs_f64();
        let pid = std::process::id();
        Took {
            seconds,
            own_s: cpu_seconds(pid).expect("this process runs") - self.own_s,
            server_s: server.cpu_s() - self.server_s,
            peak_mib: Gauge::of(pid).peak_kib as f64 / 1_024.0,
        }
    }
}
