//! Draws the figures of the last run, by its JSON.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use dispute_service_test_features::plotters::prelude::*;

use super::table::{self, Point};

/// A figure: what its points belong to, what it shows, and what its axes measure.
const FIGURES: [(&str, &str, &str, &str); 4] = [
    ("growth", "One call at a time, on SQLite", "disputes", "p50, milliseconds"),
    ("flight", "Disputes opened on SQLite", "commands in flight", "commands per second"),
    ("waiting", "Disputes opened on SQLite", "commands in flight", "milliseconds"),
    ("curve", "Disputes opened on SQLite, at a fixed rate", "commands per second", "milliseconds"),
];

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 90, 160), RGBColor(200, 80, 0), RGBColor(0, 120, 80), RGBColor(120, 60, 140)];

type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws each figure that the last run has points of into this folder.
pub(crate) fn draw(folder: &Path) {
    let file = table::file();
    let json = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut run: serde_json::Value = serde_json::from_slice(&json).expect("a run");
    let points: Vec<Point> = serde_json::from_value(run["points"].take()).expect("a run has points");
    std::fs::create_dir_all(folder).expect("the folder can be made");
    for (name, title, x, y) in FIGURES {
        let mut lines = Lines::new();
        for point in points.iter().filter(|point| point.figure == name) {
            lines.entry(point.line.clone()).or_default().push((point.x, point.y));
        }
        if !lines.is_empty() {
            let file = folder.join(format!("{name}.svg"));
            draw_one(&file, title, x, y, &lines).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            println!("{}", file.display());
        }
    }
}

/// Both axes are logarithmic: what grows in proportion rises at the same angle everywhere.
fn draw_one(file: &Path, title: &str, x: &str, y: &str, lines: &Lines) -> Result<(), Box<dyn std::error::Error>> {
    let all = || lines.values().flatten();
    let (xs, ys) = (decades(all().map(|point| point.0)), decades(all().map(|point| point.1)));
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(xs.log_scale(), ys.log_scale())?;
    chart.configure_mesh().light_line_style(WHITE).x_desc(x).y_desc(y).draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2)).draw()?;
    root.present()?;
    Ok(())
}

/// The powers of ten around these values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let power = |value: f64| 10_f64.powf(value);
    let least = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
    let most = values.fold(f64::NEG_INFINITY, f64::max).log10().ceil();
    power(least)..power(most.max(least + 1.0))
}
