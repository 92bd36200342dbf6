//! The answers as a picture: what grows, and how fast.

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
    RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};

use super::ScaleAnswer;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 420;

/// One line of a panel: its name, colour, and value at an answer.
type PlotLine = (&'static str, RGBColor, fn(&ScaleAnswer) -> f64);
type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const BLUE: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const RED: RGBColor = RGBColor(0xb0, 0x3a, 0x2e);
const GREEN: RGBColor = RGBColor(0x2e, 0x7d, 0x4f);
const GREY: RGBColor = RGBColor(0x6b, 0x6b, 0x6b);

/// An SVG with one panel each for traffic, size and time, by number of sites, both axes logarithmic.
///
/// # Errors
/// In words, where there is nothing to draw.
pub fn svg(answers: &[ScaleAnswer]) -> Result<String, String> {
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let panels = root.split_evenly((1, 3));
        let traffic: [PlotLine; 3] = [
            ("bytes until in step", BLUE, |a| a.bytes.values().sum()),
            ("messages until in step", RED, |a| a.messages),
            ("bytes a minute when idle", GREY, |a| a.idle_bytes_per_minute),
        ];
        let size: [PlotLine; 3] = [
            ("memory, bytes", BLUE, |a| a.memory_bytes as f64),
            ("frontier of all writers, bytes", RED, |a| a.frontier_bytes as f64),
            ("a pull that finds one entry, bytes", GREEN, |a| a.pull_bytes as f64),
        ];
        let time: [PlotLine; 1] =
            [("ms until in step", BLUE, |a| a.converged_ms.map_or(f64::NAN, |ms| ms as f64))];
        for (panel, title, lines) in [
            (&panels[0], "Received by a site", &traffic[..]),
            (&panels[1], "Held and reported by a site", &size[..]),
            (&panels[2], "After the last write", &time[..]),
        ] {
            draw(panel, title, lines, answers).map_err(|error| error.to_string())?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(picture)
}

fn draw(
    panel: &Panel<'_>,
    title: &str,
    lines: &[PlotLine],
    answers: &[ScaleAnswer],
) -> Result<(), Box<dyn std::error::Error>> {
    let sites = answers.iter().map(|answer| answer.sites as f64);
    let values = answers.iter().flat_map(|answer| lines.iter().map(|line| line.2(answer)));
    let (from, to) = bounds(sites).ok_or("no network was measured")?;
    let (low, high) = bounds(values).ok_or("nothing was measured")?;
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((from..to * 1.2).log_scale(), (low * 0.5..high * 30.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("sites")
        .x_label_formatter(&|sites| if is_round(*sites) { short(*sites) } else { String::new() })
        .y_label_formatter(&|value| short(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (name, colour, value) in lines {
        let points = answers.iter().map(|answer| (answer.sites as f64, value(answer)));
        let points: Vec<_> = points.filter(|(_, value)| *value > 0.0).collect();
        chart
            .draw_series(LineSeries::new(points.clone(), *colour))?
            .label(*name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], *colour));
        chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, *colour)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// Whether there is room for a number on a logarithmic axis: 1, 3, 10, 30 and so on.
fn is_round(value: f64) -> bool {
    let leading = value / 10_f64.powf(value.log10().floor());
    [1.0, 3.0].iter().any(|round| (leading - round).abs() < 0.01)
}

/// A number in few characters: 10k for 10,000.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => value.to_string(),
    }
}

/// Least and greatest of the positive values.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let positive = values.filter(|value| *value > 0.0);
    positive.fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}
