//! The flags of traces.

use clap::{ArgAction, Args};

use crate::traces::TracesSettings;

/// The flags of traces.
#[derive(Args, Clone, Debug)]
pub struct TraceFlags {
    /// The collector that traces are sent to by OTLP over gRPC, `http://HOST:PORT`; off by default.
    #[arg(long, global = true, env = "DISPUTES_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Which part of the traces that begin here is recorded, from 0 to 1; one that a caller with a scope has begun is recorded if it says so.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_TRACE_SAMPLE_RATIO",
        value_name = "RATIO",
        default_value = "0.1",
        value_parser = ratio
    )]
    trace_sample_ratio: f64,
    /// Whether spans name users.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_TRACE_USER_IDS",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set
    )]
    trace_user_ids: bool,
}

impl TraceFlags {
    /// Where traces go; `None` if nowhere.
    pub fn settings(&self) -> Result<Option<TracesSettings>, InvalidEndpoint> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let endpoint = address(endpoint)?;
        Ok(Some(TracesSettings { endpoint, sample_ratio: self.trace_sample_ratio, user_ids: self.trace_user_ids }))
    }
}

/// The endpoint is no address of a collector. It is not repeated: it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--otlp-endpoint (DISPUTES_OTLP_ENDPOINT) must be http://HOST:PORT, of a collector beside the service, which forwards the \
     traces by TLS"
)]
pub struct InvalidEndpoint;

/// An address without a path, since the methods of OTLP are fixed, and without TLS: the collector runs beside the service.
fn address(text: &str) -> Result<String, InvalidEndpoint> {
    let uri: http::Uri = text.parse().map_err(|_| InvalidEndpoint)?;
    let has_only_an_address = uri.scheme_str() == Some("http")
        && uri.port().is_some()
        && uri.path() == "/"
        && uri.query().is_none()
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if has_only_an_address { Ok(text.to_owned()) } else { Err(InvalidEndpoint) }
}

/// Parses a part of all.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_and_nothing_else() {
        for good in ["http://127.0.0.1:4317", "http://collector.local:4317/", "http://[::1]:4317"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "collector:4317",
            "https://collector:4317",
            "http://collector",
            "http://collector:4317/v1/traces",
            "http://collector:4317/?a=b",
            "http://user:secret@collector:4317",
            "http://collector:port",
        ] {
            assert_eq!(address(bad), Err(InvalidEndpoint), "{bad}");
        }
    }

    #[test]
    fn a_ratio_is_a_part_of_all() {
        for (text, ratio_of) in [("0", 0.0), ("0.1", 0.1), ("1", 1.0), ("1e-3", 0.001)] {
            assert_eq!(ratio(text), Ok(ratio_of));
        }
        for bad in ["", "-0.1", "1.1", "NaN", "inf", "all"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
