//! What the service tells Prometheus about itself. Each metric is declared once: its name, kind and labels, what it means,
//! and whether to alert on it. `docs/metrics.md` is made of the declarations.
//!
//! What happens often is counted where it happens ([`METRICS`]), for the whole process, which runs one service. What can be
//! looked up is sampled when somebody asks ([`Samples`]). No label holds what a caller has made up: its values are words of
//! ours. Only exemplars hold trace ids of callers with a scope.

mod catalogue;
mod exposition;
mod instruments;

pub use self::catalogue::{METRICS, Metrics, SAMPLED, sampled};
pub use self::exposition::{Format, expose};
pub use self::instruments::{Count, RpcSeconds, Samples, Seconds, Sizes};

/// A metric as it is declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Declaration {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// When to alert; empty if that is no cause for one.
    pub alert: &'static str,
}

/// What a metric is to Prometheus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many observations there were of each size.
    Histogram,
}

impl Kind {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}
