//! Curves over load as a picture: what was reached of what was offered, and how long jobs took to their start.

use std::path::Path;

use anyhow::Context as _;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde_json::Value;

use crate::cli::error::{Outcome, Shape};

/// Size of the picture in pixels.
const SIZE: (u32, u32) = (960, 720);
/// Percentiles that have a curve: name in the document, name in the picture, colour.
const CURVES: [(&str, &str, RGBColor); 3] =
    [("p50", "p50", GREEN), ("p95", "p95", BLUE), ("p99", "p99", RED)];

/// Its name, its colour, its points.
type Curve = (&'static str, RGBAColor, Vec<(f64, f64)>);

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Passes a file that can be written; it is empty then.
pub(super) fn check(file: &Path) -> Outcome {
    std::fs::write(file, "").with_context(|| format!("cannot write `{}`", file.display())).refuse()
}

/// Draws what `load` has measured.
pub(super) fn draw(file: &Path, document: &Value) -> Outcome {
    let mut svg = String::new();
    drawn(&mut svg, document).map_err(|error| anyhow::anyhow!("the picture cannot be drawn: {error}"))?;
    std::fs::write(file, svg).with_context(|| format!("cannot write `{}`", file.display()))?;
    Ok(())
}

fn drawn(svg: &mut String, document: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let of = |rate: &Value, name: &str| rate[name].as_f64().unwrap_or(0.0);
    let rates = document["rates"].as_array().map(Vec::as_slice).unwrap_or_default();
    let points = |name: &str| -> Vec<(f64, f64)> {
        rates.iter().map(|rate| (of(rate, "offered_per_s"), of(rate, name))).collect()
    };
    let reached = points("reached_per_s");
    let most = reached.iter().flat_map(|(x, y)| [*x, *y]).fold(1.0, f64::max) * 1.05;

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let title = format!(
        "{}: {} effects, {} in a sandbox, jobs of {} bytes",
        document["component"].as_str().unwrap_or("?"),
        document["effects"].as_str().unwrap_or("?"),
        if document["reuse"] == 1 { "one run".to_owned() } else { format!("{} runs", document["reuse"]) },
        document["payload_bytes"],
    );
    let (upper, lower) = root.titled(&title, ("sans-serif", 22))?.split_vertically(SIZE.1 / 2 - 20);
    let offered = vec![(0.0, 0.0), (most, most)];
    panel(
        &upper,
        0.0..most,
        0.0..most,
        "reached, jobs/s",
        &[("offered", BLACK.mix(0.3), offered), ("reached", BLUE.mix(1.0), reached)],
    )?;
    let curves = CURVES.map(|(field, name, colour)| {
        let ms = |rate: &Value| of(&rate["latency_ms"], field).max(1e-3);
        (name, colour.mix(1.0), rates.iter().map(|rate| (of(rate, "offered_per_s"), ms(rate))).collect())
    });
    let all = || curves.iter().flat_map(|(_, _, points): &Curve| points).map(|(_, ms)| *ms);
    let (least, longest) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let ms = (least.min(1.0) / 2.0..longest.max(1.0) * 2.0).log_scale();
    panel(&lower, 0.0..most, ms, "from due to start, ms", &curves)?;
    root.present()?;
    Ok(())
}

/// One diagram over the load that is offered.
fn panel<Y>(
    area: &Panel<'_>,
    x: std::ops::Range<f64>,
    y: Y,
    what: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc("offered, jobs/s")
        .y_desc(what)
        .light_line_style(WHITE)
        .x_label_formatter(&ToString::to_string)
        .y_label_formatter(&ToString::to_string)
        .label_style(("sans-serif", 14))
        .draw()?;
    for (name, colour, points) in curves {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    let position = SeriesLabelPosition::UpperLeft;
    chart
        .configure_series_labels()
        .position(position)
        .label_font(("sans-serif", 14))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}
