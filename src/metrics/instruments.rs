//! What counts and measures: as many series as there are values of the labels.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};
use prometheus_client::registry::Registry;

use super::{Declaration, Format, Kind};

/// The bounds of classic buckets for times, in seconds: of the conventions for RPCs, and below, where most calls are.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// … and for numbers.
const NUMBERS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// At most so many native buckets in a series; beyond that they get wider.
const NATIVE_BUCKETS: usize = 160;

/// Labels with their values.
type Labels<const N: usize> = [(&'static str, &'static str); N];

/// What makes a series.
type Make<M> = fn() -> M;

fn native() -> NativeHistogramConfig {
    NativeHistogramConfig::default().max_buckets(NATIVE_BUCKETS)
}

fn seconds() -> Histogram {
    Histogram::new_classic_and_native(SECONDS, native())
}

fn numbers() -> Histogram {
    Histogram::new_classic_and_native(NUMBERS, native())
}

fn seconds_with_exemplars() -> HistogramWithExemplars<TraceLabel> {
    HistogramWithExemplars::new(SECONDS.into_iter())
}

/// The labels of a declaration with these values.
fn labelled<const N: usize>(declaration: &Declaration, values: [&'static str; N]) -> Labels<N> {
    let mut names = declaration.labels.iter();
    values.map(|value| (names.next().copied().unwrap_or_default(), value))
}

impl Declaration {
    /// The name under which the library registers it: it adds the end of a counter's name itself.
    fn stem(&self) -> &'static str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram => self.name,
        }
    }
}

/// Counts, by so many labels.
#[derive(Debug)]
pub struct Count<const N: usize> {
    declaration: Declaration,
    series: Family<Labels<N>, Counter>,
}

impl<const N: usize> Count<N> {
    pub(super) const KIND: Kind = Kind::Counter;

    pub(super) fn new(declaration: Declaration) -> Self {
        Self { declaration, series: Family::default() }
    }

    /// Has a series for each of these, although nothing was counted yet: an increase from nothing is none to Prometheus.
    pub(super) fn begin(&self, labels: impl IntoIterator<Item = [&'static str; N]>) {
        labels.into_iter().for_each(|labels| self.more(labels, 0));
    }

    /// Counts one more.
    pub fn one(&self, labels: [&'static str; N]) {
        self.more(labels, 1);
    }

    /// Counts so many more.
    pub fn more(&self, labels: [&'static str; N], by: usize) {
        let by = u64::try_from(by).unwrap_or(u64::MAX);
        self.series.get_or_create(&labelled(&self.declaration, labels)).inc_by(by);
    }

    pub(super) fn register(&self, registry: &mut Registry, _: Format) {
        registry.register(self.declaration.stem(), self.declaration.help, self.series.clone());
    }
}

/// Histograms, by so many labels.
#[derive(Debug)]
struct Histograms<const N: usize> {
    declaration: Declaration,
    series: Family<Labels<N>, Histogram, Make<Histogram>>,
}

impl<const N: usize> Histograms<N> {
    fn new(declaration: Declaration, make: Make<Histogram>) -> Self {
        Self { declaration, series: Family::new_with_constructor(make) }
    }

    fn observe(&self, labels: [&'static str; N], value: f64) {
        self.series.get_or_create(&labelled(&self.declaration, labels)).observe(value);
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(self.declaration.stem(), self.declaration.help, self.series.clone());
    }
}

/// Measures times, by so many labels.
#[derive(Debug)]
pub struct Seconds<const N: usize>(Histograms<N>);

impl<const N: usize> Seconds<N> {
    pub(super) const KIND: Kind = Kind::Histogram;

    pub(super) fn new(declaration: Declaration) -> Self {
        Self(Histograms::new(declaration, seconds))
    }

    /// Something took so long.
    pub fn took(&self, labels: [&'static str; N], time: Duration) {
        self.0.observe(labels, time.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry, _: Format) {
        self.0.register(registry);
    }
}

/// Measures how many there are of something, by so many labels.
#[derive(Debug)]
pub struct Sizes<const N: usize>(Histograms<N>);

impl<const N: usize> Sizes<N> {
    pub(super) const KIND: Kind = Kind::Histogram;

    pub(super) fn new(declaration: Declaration) -> Self {
        Self(Histograms::new(declaration, numbers))
    }

    /// There were so many.
    pub fn were(&self, labels: [&'static str; N], count: usize) {
        self.0.observe(labels, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }

    pub(super) fn register(&self, registry: &mut Registry, _: Format) {
        self.0.register(registry);
    }
}

/// How long RPCs took, by so many labels: in classic buckets, each with the trace of its last call, and in native ones. The
/// library has both, but not in one histogram, so each format gets the one that it can carry.
#[derive(Debug)]
pub struct RpcSeconds<const N: usize> {
    classic: Family<Labels<N>, HistogramWithExemplars<TraceLabel>, Make<HistogramWithExemplars<TraceLabel>>>,
    native: Histograms<N>,
}

/// The label of an exemplar.
type TraceLabel = [(&'static str, String); 1];

impl<const N: usize> RpcSeconds<N> {
    pub(super) const KIND: Kind = Kind::Histogram;

    pub(super) fn new(declaration: Declaration) -> Self {
        Self {
            classic: Family::new_with_constructor(seconds_with_exemplars),
            native: Histograms::new(declaration, seconds),
        }
    }

    /// A call took so long; `trace_id` is that of its trace, if it has one.
    pub fn took(&self, labels: [&'static str; N], time: Duration, trace_id: Option<String>) {
        let exemplar = trace_id.map(|id| [("trace_id", id)]);
        let classic = self.classic.get_or_create(&labelled(&self.native.declaration, labels));
        classic.observe(time.as_secs_f64(), exemplar, None);
        self.native.observe(labels, time.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry, format: Format) {
        let Declaration { help, .. } = self.native.declaration;
        match format {
            Format::Text | Format::OpenMetrics => {
                registry.register(self.native.declaration.stem(), help, self.classic.clone());
            }
            Format::Protobuf => self.native.register(registry),
        }
    }
}

/// What was looked up when somebody asked.
#[derive(Default, Debug)]
pub struct Samples(BTreeMap<&'static str, Vec<Sample>>);

#[derive(Debug)]
struct Sample {
    declaration: &'static Declaration,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

impl Samples {
    /// A metric has this value, with these values of its labels.
    pub fn add(&mut self, declaration: &'static Declaration, labels: &[&str], value: f64) {
        let labels = declaration.labels.iter().copied().zip(labels.iter().map(|label| (*label).to_owned())).collect();
        self.0.entry(declaration.name).or_default().push(Sample { declaration, labels, value });
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for samples in self.0.values() {
            let Some(Sample { declaration, .. }) = samples.first() else { continue };
            let (name, help) = (declaration.stem(), declaration.help);
            match declaration.kind {
                Kind::Counter => {
                    let series = Family::<Vec<(&'static str, String)>, Counter<f64, AtomicU64>>::default();
                    for sample in samples {
                        series.get_or_create(&sample.labels).inc_by(sample.value);
                    }
                    registry.register(name, help, series);
                }
                Kind::Gauge | Kind::Histogram => {
                    let series = Family::<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>>::default();
                    for sample in samples {
                        series.get_or_create(&sample.labels).set(sample.value);
                    }
                    registry.register(name, help, series);
                }
            }
        }
    }
}
