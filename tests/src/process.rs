//! What a running process holds, as `/proc` shows it.

use std::collections::BTreeSet;
use std::fs;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// Memory in use (resident set) in KiB.
    pub memory_kib: u64,
    /// Greatest memory in use since the start, or since [`Gauge::reset_peak`].
    pub peak_kib: u64,
    /// Open file descriptors.
    pub files: usize,
    /// TCP connections that are established.
    pub tcp_established: usize,
    /// Threads.
    pub threads: u64,
}

impl Gauge {
    /// What a process holds now.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let links = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
        let links: Vec<_> = links
            .flatten()
            .map(|file| fs::read_link(file.path()).unwrap_or_default().display().to_string())
            .collect();
        let inode = |link: &String| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        let sockets: BTreeSet<u64> = links.iter().filter_map(inode).collect();
        Self {
            memory_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
            files: links.len(),
            tcp_established: established(pid).filter(|inode| sockets.contains(inode)).count(),
            threads: number("Threads:"),
        }
    }

    /// Forgets the greatest memory so far.
    pub fn reset_peak(pid: u32) {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process runs");
    }
}

/// User and system time that a process has used so far, with its children that have ended, in seconds; the kernel
/// counts in hundredths. `None`: there is no such process.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let after_name = stat.rsplit(')').next()?;
    let times = after_name.split_whitespace().skip(11).take(4);
    let ticks: f64 = times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Some(ticks / 100.0)
}

/// Inodes of the established TCP connections where the process runs.
fn established(pid: u32) -> impl Iterator<Item = u64> {
    let tables = ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let lines: Vec<_> =
        tables.iter().flat_map(|table| table.lines().skip(1)).map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // State 01 is ESTABLISHED; the inode is the tenth field.
        (fields.get(3) == Some(&"01")).then(|| fields.get(9)?.parse().ok())?
    })
}
