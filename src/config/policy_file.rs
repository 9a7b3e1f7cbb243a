//! The policy file: TOML over the defaults. Unknown keys and impossible values are errors that name the line.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::span::Span;
use crate::domain::{
    self, CancellationPolicy, Currency, DeliveryExtensionPolicy, KindPolicy, PartialRefundPolicy, Policy, SilenceRule,
};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// The file cannot be read.
    #[error("the policy file {} (--policy, DISPUTES_POLICY) cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a policy. The text names the line.
    #[error("the policy file {} (--policy, DISPUTES_POLICY) is not valid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why, and in which line.
        source: Box<toml::de::Error>,
    },
}

/// Reads a policy file.
pub fn load_policy(path: &Path) -> Result<Policy, PolicyFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PolicyFileError::Unreadable { path: path.to_owned(), source })?;
    parse_policy(&text).map_err(|source| PolicyFileError::Invalid { path: path.to_owned(), source: Box::new(source) })
}

/// Reads the text of a policy file.
pub(crate) fn parse_policy(text: &str) -> Result<Policy, toml::de::Error> {
    toml::from_str(text).map(PolicyFile::into_policy)
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
    support_url: Url,
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

#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
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
            support_url: Url::default(),
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
        let kind = |enabled, own: Option<Window>, attempts: Attempts| KindPolicy {
            enabled,
            response_window: own.unwrap_or(self.response_window).0,
            attempts: domain::Attempts { cool_down: attempts.cool_down.0, max: attempts.max },
        };
        let amounts =
            |table: BTreeMap<Code, MinorUnits>| table.into_iter().map(|(code, least)| (code.0, least.0)).collect();
        Policy {
            reminders: self.reminders.iter().map(|offset| offset.0).collect(),
            escalation_window: self.escalation_window.0,
            standing_window: self.standing_window.0,
            event_retention: self.event_retention.0,
            support_url: self.support_url.0,
            partial_refund: PartialRefundPolicy {
                kind: kind(
                    self.partial_refund.enabled,
                    self.partial_refund.response_window,
                    self.partial_refund.attempts,
                ),
                cap_bps: self.partial_refund.cap_bps.0,
                silence_rule: self.partial_refund.silence_rule.into(),
                smallest_refund: amounts(self.partial_refund.smallest_refund),
                smallest_price: amounts(self.partial_refund.smallest_price),
            },
            cancellation: CancellationPolicy {
                kind: kind(self.cancellation.enabled, self.cancellation.response_window, self.cancellation.attempts),
                silence_rule: self.cancellation.silence_rule.into(),
                silence_rule_after_delivery: self.cancellation.silence_rule_after_delivery.into(),
                immediate_before_start: self.cancellation.immediate_before_start,
                immediate_when_late: self.cancellation.immediate_when_late.0,
            },
            order_update: kind(
                self.order_update.enabled,
                self.order_update.response_window,
                self.order_update.attempts,
            ),
            delivery_extension: DeliveryExtensionPolicy {
                kind: kind(
                    self.delivery_extension.enabled,
                    self.delivery_extension.response_window,
                    self.delivery_extension.attempts,
                ),
                silence_rule: self.delivery_extension.silence_rule.into(),
                silent_grants: self.delivery_extension.silent_grants,
                max_extension: self.delivery_extension.max_extension.0,
            },
        }
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

/// Where customer support is reached: nothing, or a URL that a front end can make a link of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Url(String);

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        let is_link = ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
        if (url.is_empty() || is_link) && url.chars().all(|character| character.is_ascii_graphic()) {
            Ok(Self(url))
        } else {
            Err(D::Error::custom("expected a URL that begins with https://, http:// or mailto:"))
        }
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
mod tests;
