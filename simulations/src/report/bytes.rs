//! Bytes that each office received and sent.

use maud::{Markup, html};

use super::ReportedRun;
use super::axis::{LEFT, WIDTH, fitting, short};
use crate::outcome::SiteFigures;
use crate::text::Bytes;

const ROW: f64 = 30.0;
const BAR: f64 = 10.0;
/// Where the longest bar ends; the figures stand to the right of it.
const RIGHT: f64 = WIDTH - 90.0;

/// The chart; empty where nothing moved.
pub(super) fn chart(run: &ReportedRun<'_>) -> Markup {
    let sites: Vec<(&String, &SiteFigures)> = run
        .scenario
        .offices
        .iter()
        .filter_map(|office| run.outcome.figures.sites.get_key_value(office))
        .collect();
    let max = sites.iter().map(|(_, site)| site.bytes_in.max(site.bytes_out)).max().unwrap_or(0);
    if max == 0 {
        return Markup::default();
    }
    let width = |bytes: u64| (RIGHT - LEFT) * bytes as f64 / max as f64;
    let view = format!("0 0 {WIDTH} {}", sites.len() as f64 * ROW + 4.0);
    html! {
        ul.legend aria-hidden="true" {
            li { svg class="key" viewBox="0 0 22 16" { rect.in x="0" y="3" width="22" height="10" {} } "received" }
            li { svg class="key" viewBox="0 0 22 16" { rect.out x="0" y="3" width="22" height="10" {} } "sent" }
        }
        svg.chart viewBox=(view) role="img" aria-label="Bytes that each office received and sent" {
            @for (row, (name, site)) in sites.iter().enumerate() {
                @let top = row as f64 * ROW + 4.0;
                text.name x=(short(LEFT - 8.0)) y=(short(top + BAR + 4.0)) text-anchor="end" { (fitting(name)) }
                @for (class, bytes, y) in [("in", site.bytes_in, top), ("out", site.bytes_out, top + BAR + 1.0)] {
                    rect class=(class) x=(short(LEFT)) y=(short(y)) width=(short(width(bytes).max(1.0))) height=(short(BAR)) {}
                    text.value x=(short(LEFT + width(bytes) + 6.0)) y=(short(y + BAR - 1.0)) { (Bytes(bytes)) }
                }
            }
        }
        details {
            summary { "As text" }
            table {
                thead { tr {
                    th scope="col" { "Office" } th.number scope="col" { "Received" } th.number scope="col" { "Sent" }
                    th.number scope="col" { "Journal" } th.number scope="col" { "Tables" }
                } }
                tbody {
                    @for (name, site) in &sites {
                        tr {
                            td { (name) }
                            @for bytes in [site.bytes_in, site.bytes_out, site.journal_bytes, site.rows_bytes] {
                                td.number { (Bytes(bytes)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
