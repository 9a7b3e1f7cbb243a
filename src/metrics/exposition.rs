//! The formats in which Prometheus can be told.

use std::fmt;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::{Bucket, Histogram, MetricFamily};
use prometheus_client::encoding::{prometheus_protobuf, prometheus_text, text};
use prometheus_client::registry::Registry;
use prost::Message;

use super::catalogue::METRICS;
use super::instruments::Samples;

/// A format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Prometheus text 0.0.4, with classic buckets.
    Text,
    /// OpenMetrics text 1.0.0, with exemplars.
    OpenMetrics,
    /// Prometheus protobuf, with native buckets.
    Protobuf,
}

impl Format {
    const ALL: [Self; 3] = [Self::Protobuf, Self::OpenMetrics, Self::Text];

    /// The format that a header `accept` prefers; text if it says nothing, or nothing that there is.
    pub fn preferred(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let weight = parts.filter_map(|part| part.strip_prefix("q=")).find_map(|q| q.parse::<f64>().ok());
            let weight = weight.unwrap_or(1.0);
            let found = Self::ALL.into_iter().find(|format| format.media_type() == media_type);
            if let Some(format) = found.filter(|format| weight > best.1 && format.is_meant(range)) {
                best = (format, weight);
            }
        }
        best.0
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::OpenMetrics => "application/openmetrics-text",
            Self::Protobuf => "application/vnd.google.protobuf",
        }
    }

    /// Whether a range of media types with the type of this format is for a version of it that there is.
    fn is_meant(self, range: &str) -> bool {
        match self {
            Self::Text | Self::OpenMetrics => true,
            Self::Protobuf => {
                range.contains("io.prometheus.client.MetricFamily") && range.contains("encoding=delimited")
            }
        }
    }

    /// What a header `content-type` says.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// Everything that was counted and sampled, in this format.
pub fn expose(samples: &Samples, format: Format) -> Result<Vec<u8>, fmt::Error> {
    let mut registry = Registry::default();
    METRICS.register(&mut registry, format);
    samples.register(&mut registry);
    let mut text = String::new();
    match format {
        Format::Text => prometheus_text::encode(&mut text, &registry)?,
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
        Format::Protobuf => {
            let mut families = prometheus_protobuf::encode(&registry)?;
            add_exemplars(&mut families)?;
            return Ok(families.iter().flat_map(Message::encode_length_delimited_to_vec).collect());
        }
    }
    Ok(text.into_bytes())
}

/// Adds the exemplars, which the library has in classic histograms only, to the native ones with the same labels.
fn add_exemplars(families: &mut [MetricFamily]) -> Result<(), fmt::Error> {
    let mut registry = Registry::default();
    METRICS.rpc.register(&mut registry, Format::Text);
    for classic in prometheus_protobuf::encode(&registry)? {
        let Some(family) = families.iter_mut().find(|family| family.name == classic.name) else { continue };
        for with_exemplars in classic.metric {
            let native = family.metric.iter_mut().find(|metric| metric.label == with_exemplars.label);
            let native = native.and_then(|metric| metric.histogram.as_mut());
            for (to, from) in native.into_iter().zip(with_exemplars.histogram).flat_map(buckets) {
                to.exemplar = from.exemplar;
            }
        }
    }
    Ok(())
}

/// The buckets of two histograms with the same bounds.
fn buckets((to, from): (&mut Histogram, Histogram)) -> impl Iterator<Item = (&mut Bucket, Bucket)> {
    to.bucket.iter_mut().zip(from.bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_preferred_one_of_those_that_there_are() {
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
            application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", Format::OpenMetrics),
            ("application/openmetrics-text;version=1.0.0;q=0.4,text/plain;q=0.5", Format::Text),
            ("application/vnd.google.protobuf;encoding=text, text/plain;q=0.1", Format::Text),
            (prometheus, Format::Protobuf),
        ] {
            assert_eq!(Format::preferred(accept), format, "{accept}");
        }
    }
}
