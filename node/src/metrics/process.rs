//! What the process takes of the machine, as Linux tells it. Elsewhere nothing is reported.

use std::fs;

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessMeasured {
    pub(super) resident_memory_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl ProcessMeasured {
    /// What it takes now.
    pub(super) fn now() -> Self {
        let text = |file| fs::read_to_string(format!("/proc/self/{file}")).ok();
        Self {
            resident_memory_bytes: text("status").as_deref().and_then(resident_memory_bytes),
            // The folder itself is open while it is read.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64 - 1),
            max_fds: text("limits").as_deref().and_then(max_fds),
            cpu_seconds: text("stat").as_deref().and_then(cpu_seconds),
        }
    }
}

fn resident_memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time; the kernel counts in hundredths for programs.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name, in parentheses, may hold anything.
    let after_name = stat.rsplit(')').next()?;
    let times = after_name.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = times.map(str::parse).collect::<Result<_, _>>().ok()?;
    (ticks.len() == 2).then(|| ticks.iter().sum::<u64>() as f64 / 100.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        let status = "Name:\tbranchline\nVmHWM:\t   90000 kB\nVmRSS:\t   54321 kB\nThreads:\t9\n";
        assert_eq!(resident_memory_bytes(status), Some(54_321 * 1024));
        let limits = "Max processes  127  127  processes\nMax open files            1024      4096    files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files  unlimited unlimited files"), None);
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 51 9 9 20 0 12 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.01));
        assert_eq!(cpu_seconds("7 (a"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let ProcessMeasured { resident_memory_bytes, open_fds, max_fds, cpu_seconds } =
            ProcessMeasured::now();
        assert!(resident_memory_bytes.unwrap() > 1024 * 1024);
        assert!(open_fds.unwrap() >= 3 && max_fds.unwrap() >= open_fds.unwrap());
        assert!(cpu_seconds.unwrap() >= 0.0);
    }
}
