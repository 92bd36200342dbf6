//! What was measured: a JSON line as soon as a job is done, and a table of all at the end.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use crate::records::Ids;

/// Figures of one run by name, units last. Every run of a job has the same.
pub(crate) type Figures = Vec<(&'static str, f64)>;

/// What was done to get the figures.
pub(crate) struct Work<'a> {
    /// The job's name on the command line.
    pub(crate) job: &'static str,
    /// Which of its forms.
    pub(crate) form: &'a str,
    /// Records that it is about.
    pub(crate) records: usize,
    /// What takes the writes and answers: processes with their API, or handles in this process.
    pub(crate) by: &'static str,
}

/// Everything measured so far.
pub(crate) struct Report {
    ids: Ids,
    machine: Value,
    table: Table,
}

impl Report {
    /// A report of records that are called like this.
    pub(crate) fn new(ids: Ids) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table
            .set_header(["job", "form", "ids", "records", "figure", "median", "least", "greatest"]);
        for column in table.column_iter_mut().skip(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self { ids, machine: machine(), table }
    }

    /// Takes in the runs of a job.
    pub(crate) fn add(&mut self, work: &Work<'_>, runs: &[Figures]) {
        let mut figures = Map::new();
        for (index, (name, _)) in runs[0].iter().enumerate() {
            let mut values: Vec<f64> = runs.iter().map(|run| run[index].1).collect();
            values.sort_by(f64::total_cmp);
            let (median, least, greatest) =
                (values[values.len() / 2], values[0], values[values.len() - 1]);
            let (median, least, greatest) = (rounded(median), rounded(least), rounded(greatest));
            figures.insert(
                (*name).to_owned(),
                json!({ "median": median, "least": least, "greatest": greatest }),
            );
            let cells = [median, least, greatest].map(|value| value.to_string());
            let (ids, records) = (self.ids.to_string(), work.records.to_string());
            let head = [work.job, work.form, &ids, &records, name].map(str::to_owned);
            self.table.add_row(head.into_iter().chain(cells));
        }
        println!(
            "{}",
            json!({
                "job": work.job, "form": work.form, "ids": self.ids.to_string(), "records": work.records, "by": work.by, "runs": runs.len(),
                "durability": "fdatasync before acknowledgement, defaults of the program",
                "machine": self.machine, "figures": figures,
            })
        );
    }

    pub(crate) fn table(&self) -> String {
        self.table.trim_fmt()
    }
}

/// Four digits: more are noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let places = 3 - value.abs().log10().floor() as i32;
    if places <= 0 {
        return value.round();
    }
    let unit = 10_f64.powi(places);
    (value * unit).round() / unit
}

fn machine() -> Value {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load_before = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    // That of this program; the other one is built the same way unless --program names one.
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    json!({ "cpus": cpus, "model": model, "profile": profile, "load_before": load_before })
}

/// The value below which so many hundredths of the sorted times lie, in ms.
pub(crate) fn percentile_ms(sorted: &[std::time::Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted[index].as_secs_f64() * 1_000.0
}
