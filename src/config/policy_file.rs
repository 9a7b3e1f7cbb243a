//! The policy file: TOML over the defaults. Unknown keys and impossible values are errors that name the line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::domain::{CancellationPolicy, Currency, PartialRefundPolicy, Policy, ResponseWindows, SilenceRule};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("the policy file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a policy. The text names the line.
    #[error("the policy file {} is not valid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why, and in which line.
        source: Box<toml::de::Error>,
    },
}

/// Reads a policy file. Keys that are understood but have no effect in this version are named in the log.
pub fn load_policy(path: &Path) -> Result<Policy, PolicyFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PolicyFileError::Unreadable { path: path.to_owned(), source })?;
    let file: PolicyFile = toml::from_str(&text)
        .map_err(|source| PolicyFileError::Invalid { path: path.to_owned(), source: Box::new(source) })?;
    for key in file.keys_without_effect() {
        tracing::warn!(key, "this key of the policy file has no effect in this version");
    }
    Ok(file.into_policy())
}

/// The file as it is written. Every key may be left out.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct PolicyFile {
    response_window: Window,
    reminders: Vec<Window>,
    escalation_window: Window,
    standing_window: Window,
    event_retention: Span,
    support_url: String,
    partial_refund: PartialRefundTable,
    cancellation: CancellationTable,
    order_update: OrderUpdateTable,
    delivery_extension: DeliveryExtensionTable,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct PartialRefundTable {
    enabled: bool,
    response_window: Option<Window>,
    attempts: Attempts,
    cap_bps: BasisPoints,
    silence_rule: Rule,
    smallest_refund: BTreeMap<Code, MinorUnits>,
    smallest_price: BTreeMap<Code, MinorUnits>,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct CancellationTable {
    enabled: bool,
    response_window: Option<Window>,
    attempts: Attempts,
    silence_rule: Rule,
    silence_rule_after_delivery: Rule,
    immediate_before_start: bool,
    immediate_when_late: Span,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct OrderUpdateTable {
    enabled: bool,
    response_window: Option<Window>,
    attempts: Attempts,
}

#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct DeliveryExtensionTable {
    enabled: bool,
    response_window: Option<Window>,
    attempts: Attempts,
    silence_rule: Rule,
    silent_grants: u32,
    max_extension: Window,
}

#[derive(Deserialize, Clone, Default, PartialEq, Eq, Debug)]
#[serde(default, deny_unknown_fields)]
struct Attempts {
    cool_down: Span,
    max: u32,
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self {
            response_window: Window::hours(48),
            reminders: vec![Window::hours(24), Window::hours(2)],
            escalation_window: Window::hours(14 * 24),
            standing_window: Window::hours(60 * 24),
            event_retention: Span::default(),
            support_url: String::new(),
            partial_refund: PartialRefundTable::default(),
            cancellation: CancellationTable::default(),
            order_update: OrderUpdateTable::default(),
            delivery_extension: DeliveryExtensionTable::default(),
        }
    }
}

impl Default for PartialRefundTable {
    fn default() -> Self {
        Self {
            enabled: true,
            response_window: None,
            attempts: Attempts::default(),
            cap_bps: BasisPoints(6_000),
            silence_rule: Rule::NoEffect,
            smallest_refund: BTreeMap::new(),
            smallest_price: BTreeMap::new(),
        }
    }
}

impl Default for CancellationTable {
    fn default() -> Self {
        Self {
            enabled: true,
            response_window: None,
            attempts: Attempts::default(),
            silence_rule: Rule::Accept,
            silence_rule_after_delivery: Rule::NoEffect,
            immediate_before_start: false,
            immediate_when_late: Span::default(),
        }
    }
}

impl Default for OrderUpdateTable {
    fn default() -> Self {
        Self { enabled: true, response_window: None, attempts: Attempts::default() }
    }
}

impl Default for DeliveryExtensionTable {
    fn default() -> Self {
        Self {
            enabled: true,
            response_window: None,
            attempts: Attempts::default(),
            silence_rule: Rule::Accept,
            silent_grants: 1,
            max_extension: Window::hours(30 * 24),
        }
    }
}

impl PolicyFile {
    fn into_policy(self) -> Policy {
        let window = |own: Option<Window>| own.unwrap_or(self.response_window).0;
        let amounts =
            |table: BTreeMap<Code, MinorUnits>| table.into_iter().map(|(code, least)| (code.0, least.0)).collect();
        Policy {
            response_windows: ResponseWindows {
                partial_refund: window(self.partial_refund.response_window),
                cancellation: window(self.cancellation.response_window),
                order_update: window(self.order_update.response_window),
            },
            partial_refund: PartialRefundPolicy {
                cap_bps: self.partial_refund.cap_bps.0,
                silence_rule: self.partial_refund.silence_rule.into(),
                smallest_refund: amounts(self.partial_refund.smallest_refund),
                smallest_price: amounts(self.partial_refund.smallest_price),
            },
            cancellation: CancellationPolicy {
                silence_rule: self.cancellation.silence_rule.into(),
                silence_rule_after_delivery: self.cancellation.silence_rule_after_delivery.into(),
            },
        }
    }

    /// The keys that are set to something else than their default, for rules that this version does not have.
    fn keys_without_effect(&self) -> Vec<&'static str> {
        let default = Self::default();
        let changed = [
            ("reminders", self.reminders != default.reminders),
            ("escalation_window", self.escalation_window != default.escalation_window),
            ("standing_window", self.standing_window != default.standing_window),
            ("event_retention", self.event_retention != default.event_retention),
            ("support_url", self.support_url != default.support_url),
            ("partial_refund.enabled", !self.partial_refund.enabled),
            ("partial_refund.attempts", self.partial_refund.attempts != Attempts::default()),
            ("cancellation.enabled", !self.cancellation.enabled),
            ("cancellation.attempts", self.cancellation.attempts != Attempts::default()),
            ("cancellation.immediate_before_start", self.cancellation.immediate_before_start),
            ("cancellation.immediate_when_late", self.cancellation.immediate_when_late != Span::default()),
            ("order_update.enabled", !self.order_update.enabled),
            ("order_update.attempts", self.order_update.attempts != Attempts::default()),
            ("delivery_extension", self.delivery_extension != default.delivery_extension),
        ];
        changed.into_iter().filter_map(|(key, is_changed)| is_changed.then_some(key)).collect()
    }
}

/// Ten years: longer spans are taken for a slip.
const LONGEST_SPAN: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

/// A span: an integer and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Span(Duration);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let unit_at = text.len().checked_sub(1)?;
        let (count, unit) = text.split_at_checked(unit_at)?;
        let seconds_per_unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return None,
        };
        let is_integer = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = is_integer.then(|| count.parse().ok())??;
        Some(Self(Duration::from_secs(count.checked_mul(seconds_per_unit)?)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = Self::parse(&text)
            .ok_or_else(|| D::Error::custom("expected an integer and s, m, h or d, for example \"48h\""))?;
        if span.0 > LONGEST_SPAN {
            return Err(D::Error::custom("expected at most 3650d"));
        }
        Ok(span)
    }
}

/// A span above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window(Duration);

impl Window {
    const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 60 * 60))
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Span(span) = Span::deserialize(deserializer)?;
        if span.is_zero() { Err(D::Error::custom("expected more than nothing")) } else { Ok(Self(span)) }
    }
}

/// 1 to 10,000 basis points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct BasisPoints(u32);

impl<'de> Deserialize<'de> for BasisPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = u32::deserialize(deserializer)?;
        if (1..=10_000).contains(&points) {
            Ok(Self(points))
        } else {
            Err(D::Error::custom("expected 1 to 10000 basis points"))
        }
    }
}

/// A currency code of ISO 4217.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Code(String);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        match Currency::from_code(&code) {
            Some(_) => Ok(Self(code)),
            None => Err(D::Error::custom("expected a currency code of ISO 4217, for example USD")),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A count of minor units, at least 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct MinorUnits(i64);

impl<'de> Deserialize<'de> for MinorUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let minor = i64::deserialize(deserializer)?;
        if minor < 0 { Err(D::Error::custom("expected at least 0 minor units")) } else { Ok(Self(minor)) }
    }
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
enum Rule {
    NoEffect,
    Accept,
}

impl From<Rule> for SilenceRule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::NoEffect => Self::NoEffect,
            Rule::Accept => Self::Accept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PolicyFile, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    /// The file of the contract, with its defaults.
    const DEFAULTS: &str = r#"
response_window = "48h"
reminders = ["24h", "2h"]
escalation_window = "14d"
standing_window = "60d"
event_retention = "0s"
support_url = ""
[partial_refund]
enabled = true
attempts = { cool_down = "0s", max = 0 }
cap_bps = 6000
silence_rule = "no_effect"
smallest_refund = {}
smallest_price = {}
[cancellation]
silence_rule = "accept"
silence_rule_after_delivery = "no_effect"
immediate_before_start = false
immediate_when_late = "0s"
[order_update]
[delivery_extension]
silence_rule = "accept"
silent_grants = 1
max_extension = "30d"
"#;

    #[test]
    fn a_file_with_every_default_is_the_default_policy() {
        for text in ["", DEFAULTS] {
            let file = parse(text).unwrap();
            assert_eq!(file, PolicyFile::default());
            assert_eq!(file.keys_without_effect(), Vec::<&str>::new());
            assert_eq!(file.into_policy(), Policy::default());
        }
    }

    #[test]
    fn each_key_that_decides_something_turns_it() {
        let policy = |text: &str| parse(text).unwrap().into_policy();
        let hour = Duration::from_secs(3_600);
        let windows = policy("response_window = \"1h\"\n[cancellation]\nresponse_window = \"90s\"").response_windows;
        assert_eq!(windows.partial_refund, hour);
        assert_eq!(windows.cancellation, Duration::from_secs(90));
        assert_eq!(windows.order_update, hour);
        let refund = policy(
            "[partial_refund]\ncap_bps = 5000\nsilence_rule = \"accept\"\nsmallest_refund = { USD = 500 }\nsmallest_price = { JPY = 7 }",
        )
        .partial_refund;
        assert_eq!(refund.cap_bps, 5_000);
        assert_eq!(refund.silence_rule, SilenceRule::Accept);
        assert_eq!(refund.smallest_refund, BTreeMap::from([("USD".to_owned(), 500)]));
        assert_eq!(refund.smallest_price, BTreeMap::from([("JPY".to_owned(), 7)]));
        let cancellation =
            policy("[cancellation]\nsilence_rule = \"no_effect\"\nsilence_rule_after_delivery = \"accept\"")
                .cancellation;
        assert_eq!(cancellation.silence_rule, SilenceRule::NoEffect);
        assert_eq!(cancellation.silence_rule_after_delivery, SilenceRule::Accept);
    }

    #[test]
    fn what_cannot_be_is_an_error_that_names_the_line() {
        let cases = [
            ("an unknown key", "\nresponce_window = \"1h\"", "line 2", "unknown field `responce_window`"),
            ("an unknown table", "[refunds]", "line 1", "unknown field `refunds`"),
            ("a span without a unit", "response_window = \"48\"", "line 1", "s, m, h or d"),
            ("a span that is a number", "response_window = 48", "line 1", "string"),
            ("a negative span", "event_retention = \"-1h\"", "line 1", "s, m, h or d"),
            ("a span beyond reason", "\n\nevent_retention = \"99999999999999999999d\"", "line 3", "s, m, h or d"),
            ("an empty window", "response_window = \"0s\"", "line 1", "more than nothing"),
            ("a cap above the price", "[partial_refund]\ncap_bps = 10001", "line 2", "1 to 10000"),
            ("no cap", "[partial_refund]\ncap_bps = 0", "line 2", "1 to 10000"),
            ("an unknown rule", "[cancellation]\nsilence_rule = \"perhaps\"", "line 2", "unknown variant"),
            ("an unknown currency", "[partial_refund]\nsmallest_price = { XYZ = 1 }", "line 2", "ISO 4217"),
            ("a negative amount", "[partial_refund]\nsmallest_price = { USD = -1 }", "line 2", "at least 0"),
        ];
        for (name, text, line, what) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(line) && error.contains(what), "{name}: {error}");
        }
    }

    #[test]
    fn keys_for_rules_that_do_not_exist_yet_are_named() {
        let file = parse("reminders = []\n[delivery_extension]\nsilent_grants = 2").unwrap();
        assert_eq!(file.keys_without_effect(), ["reminders", "delivery_extension"]);
    }
}
