//! The one table that all scenarios write to, printed as it grows and kept as JSON under the target directory.

use std::path::{Path, PathBuf};

use super::scale;

/// What is asked of the ratio, or of the figure itself if it is compared to nothing.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Only for orientation.
    None,
}

/// A line of the table: medians over the rounds, and the least and the most of what is judged.
#[derive(serde::Serialize)]
struct Row {
    scenario: &'static str,
    figure: String,
    ours: f64,
    limit: Option<f64>,
    ratio: Option<f64>,
    target: String,
    met: Option<bool>,
    spread: [f64; 2],
}

/// A point of a figure: how something grows with something else.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Point {
    pub(crate) figure: String,
    pub(crate) line: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

const HEADER: [&str; 8] = ["scenario", "figure", "ours", "limit", "ratio", "target", "spread", ""];

pub(crate) struct Table {
    rows: Vec<Row>,
    points: Vec<Point>,
    skipped: Vec<&'static str>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), points: Vec::new(), skipped: Vec::new() }
    }

    /// Adds a figure that was measured in turns with its limit: the ratio is the median of the rounds' ratios.
    pub(crate) fn compare(
        &mut self,
        scenario: &'static str,
        figure: &str,
        ours: &[f64],
        limit: &[f64],
        target: Target,
    ) {
        let ratios: Vec<f64> = ours.iter().zip(limit).map(|(ours, limit)| ours / limit).collect();
        self.add(scenario, figure, median(ours), Some(median(limit)), &ratios, target);
    }

    /// Adds a figure that stands for itself.
    pub(crate) fn single(&mut self, scenario: &'static str, figure: &str, ours: &[f64], target: Target) {
        self.add(scenario, figure, median(ours), None, ours, target);
    }

    /// Adds a point to a figure.
    pub(crate) fn point(&mut self, figure: &str, line: &str, x: f64, y: f64) {
        println!("{figure:<9} {line:<52} {:>9} at {}", short(y), short(x));
        self.points.push(Point { figure: figure.to_owned(), line: line.to_owned(), x, y });
    }

    /// Notes that a scenario cannot run here.
    pub(crate) fn skip(&mut self, scenario: &'static str, why: &str) {
        println!("*** {scenario} WAS SKIPPED: {why} ***");
        self.skipped.push(scenario);
    }

    fn add(
        &mut self,
        scenario: &'static str,
        figure: &str,
        ours: f64,
        limit: Option<f64>,
        judged: &[f64],
        target: Target,
    ) {
        let middle = median(judged);
        let (target, met) = match target {
            Target::AtLeast(least) => (format!(">= {least}"), Some(middle >= least)),
            Target::AtMost(most) => (format!("<= {most}"), Some(middle <= most)),
            Target::None => (String::new(), None),
        };
        let spread = [
            judged.iter().copied().fold(f64::INFINITY, f64::min),
            judged.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ];
        let ratio = limit.map(|_| middle);
        let row = Row { scenario, figure: figure.to_owned(), ours, limit, ratio, target, met, spread };
        if self.rows.last().is_none_or(|last| last.scenario != scenario) {
            print_line(HEADER.map(str::to_owned));
        }
        print_line(row.cells());
        self.rows.push(row);
    }

    /// Prints everything once more, in one piece.
    pub(crate) fn finish(&self) {
        println!();
        print_line(HEADER.map(str::to_owned));
        for row in &self.rows {
            print_line(row.cells());
        }
        if !self.skipped.is_empty() {
            println!("\n*** SKIPPED, see above: {} ***", self.skipped.join(", "));
        }
        println!("\nwritten to {}", file().display());
    }

    /// Writes down what there is: a scenario that fails must not take those before it with it.
    pub(crate) fn save(&self) {
        let json = serde_json::json!({
            "quick": scale::quick(), "machine": machine(), "rows": self.rows, "points": self.points,
            "skipped": self.skipped,
        });
        let json = serde_json::to_string_pretty(&json).expect("numbers and texts");
        std::fs::write(file(), json).expect("the target directory can be written to");
    }
}

/// Where a run is written to.
pub(crate) fn file() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("scenarios.json")
}

impl Row {
    fn cells(&self) -> [String; 8] {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), short);
        [
            self.scenario.to_owned(),
            self.figure.clone(),
            short(self.ours),
            number(self.limit),
            number(self.ratio),
            self.target.clone(),
            format!("{} to {}", short(self.spread[0]), short(self.spread[1])),
            self.met.map_or("", |met| if met { "met" } else { "MISSED" }).to_owned(),
        ]
    }
}

/// What it was measured on.
fn machine() -> serde_json::Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
    };
    serde_json::json!({
        "cores": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "processor": value(&read("/proc/cpuinfo"), "model name"),
        "memory": value(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").trim(),
    })
}

fn print_line([scenario, figure, ours, limit, ratio, target, spread, met]: [String; 8]) {
    println!("{scenario:<9} {figure:<52} {ours:>9} {limit:>9} {ratio:>7} {target:>8} {spread:>20} {met}");
}

/// Three digits that matter.
fn short(number: f64) -> String {
    match number.abs() {
        0.0..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
