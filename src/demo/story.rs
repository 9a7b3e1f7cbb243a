//! The story of the demo: its orders, and the steps by which each came to where it is. Read from `story.toml`.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::config::Span;
use crate::domain::Timestamp;
use crate::proto::{Money, v1};

/// The text of the story.
const TEXT: &str = include_str!("story.toml");

/// How many decimals the nanos of an amount have.
const NANOS_DECIMALS: usize = 9;

/// Everything that happens.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Story {
    pub(super) orders: Vec<Order>,
}

/// An order, and what happens to it.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) parties: Parties,
    #[serde(deserialize_with = "price")]
    pub(super) price: Money,
    /// When it was placed; at its first step if this is not said.
    pub(super) placed: Option<When>,
    pub(super) due: Option<When>,
    /// When it ended; at the step that ends it if this is not said.
    pub(super) ended: Option<When>,
    pub(super) steps: Vec<Step>,
}

/// The parties of an order.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Parties {
    pub(super) buyer: String,
    pub(super) seller: String,
}

/// What somebody does at an instant. The service refuses a deed without something that it needs.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) at: When,
    #[serde(default = "order_system")]
    pub(super) who: String,
    #[serde(default)]
    pub(super) does: Deed,
    #[serde(default, deserialize_with = "status")]
    pub(super) status: v1::OrderStatus,
    amount: Option<String>,
    #[serde(default, deserialize_with = "reason")]
    pub(super) reason: v1::Reason,
    #[serde(default)]
    pub(super) says: String,
    pub(super) until: Option<When>,
    #[serde(default)]
    pub(super) no_fault: bool,
}

/// What can be done.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Deed {
    #[default]
    ReportStatus,
    OfferRefund,
    RequestRefund,
    RequestCancellation,
    RequestUpdate,
    RequestExtension,
    Accept,
    Decline,
    Counter,
    Answer,
    Withdraw,
    Escalate,
    Postpone,
    DecideRefund,
    ReportSettled,
    ReportFailed,
    ReportReturned,
    ReportVoided,
}

/// An instant, told from the end of the story: `2d 4h ago` or `in 5d`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Ago(Duration),
    Ahead(Duration),
}

impl Story {
    /// Reads the story.
    pub(super) fn read() -> Result<Self, toml::de::Error> {
        Self::parse(TEXT)
    }

    /// Reads the text of a story.
    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// When it begins, if it ends at `end`.
    pub(super) fn beginning(&self, end: Timestamp) -> Timestamp {
        self.steps(end).first().map_or(end, |(instant, _, _)| *instant)
    }

    /// All steps in the order of their instants, with their orders, if it ends at `end`.
    pub(super) fn steps(&self, end: Timestamp) -> Vec<(Timestamp, &Order, &Step)> {
        let steps = self.orders.iter().flat_map(|order| order.steps.iter().map(move |step| (order, step)));
        let mut steps: Vec<_> = steps.map(|(order, step)| (step.at.from(end), order, step)).collect();
        steps.sort_by_key(|(instant, _, _)| *instant);
        steps
    }
}

impl Step {
    /// The amount, in the currency of the order.
    pub(super) fn amount(&self, order: &Order) -> Option<Money> {
        money(self.amount.as_deref()?, &order.price.currency_code)
    }
}

impl When {
    /// The instant, if the story ends at `end`.
    pub(super) fn from(self, end: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => end.minus(span),
            Self::Ahead(span) => end.plus(span),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let span = |text: &str| {
            let parts = text.split(' ').map(|part| part.parse::<Span>().ok());
            parts.map(|part| part.map(|Span(span)| span)).sum::<Option<Duration>>()
        };
        match (text.strip_suffix(" ago"), text.strip_prefix("in ")) {
            (Some(past), _) => span(past).map(Self::Ago),
            (None, Some(future)) => span(future).map(Self::Ahead),
            (None, None) => None,
        }
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected an instant such as \"2d 4h ago\" or \"in 5d\""))
    }
}

fn order_system() -> String {
    super::teller::ORDER_SYSTEM.to_owned()
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    let text = String::deserialize(deserializer)?;
    let price = text.split_once(' ').and_then(|(amount, currency)| money(amount, currency));
    price.ok_or_else(|| D::Error::custom("expected an amount and a currency, such as \"200.00 USD\""))
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<v1::OrderStatus, D::Error> {
    let name = String::deserialize(deserializer)?;
    let status = v1::OrderStatus::from_str_name(&format!("ORDER_STATUS_{name}"));
    status.ok_or_else(|| D::Error::custom("expected the name of an order status"))
}

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<v1::Reason, D::Error> {
    let name = String::deserialize(deserializer)?;
    v1::Reason::from_str_name(&format!("REASON_{name}"))
        .ok_or_else(|| D::Error::custom("expected the name of a reason"))
}

/// An amount in decimal notation.
fn money(amount: &str, currency: &str) -> Option<Money> {
    let (units, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    if decimals.len() > NANOS_DECIMALS {
        return None;
    }
    let nanos = format!("{decimals:0<NANOS_DECIMALS$}").parse().ok()?;
    Some(Money { currency_code: currency.to_owned(), units: units.parse().ok()?, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(count: u64) -> Duration {
        Duration::from_secs(count * 60 * 60)
    }

    #[test]
    fn instants_and_amounts_are_read_as_they_are_written() {
        assert_eq!(When::parse("2d 4h ago"), Some(When::Ago(hours(52))));
        assert_eq!(When::parse("in 5d"), Some(When::Ahead(hours(120))));
        for text in ["", "5d", "ago", "in", "in five days", "2d  4h ago", "in 5d ago"] {
            assert_eq!(When::parse(text), None, "{text}");
        }
        let amount = |text| money(text, "USD").map(|money| (money.units, money.nanos));
        assert_eq!(amount("200.05"), Some((200, 50_000_000)));
        assert_eq!(amount("18000"), Some((18_000, 0)));
        for text in ["", "x", "1.x", "1.0000000001"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn the_story_is_told_in_the_order_of_time() {
        let story = Story::read().unwrap();
        let end = Timestamp::from_micros(1_772_323_200_000_000).unwrap();
        let steps: Vec<_> = story.steps(end).into_iter().map(|(instant, _, _)| instant).collect();
        assert!(steps.is_sorted() && steps.last().is_some_and(|last| *last < end));
        assert_eq!(steps.first(), Some(&story.beginning(end)));
        let span = end.since(story.beginning(end));
        assert!((hours(9 * 24)..hours(10 * 24)).contains(&span), "{span:?}");
        for order in &story.orders {
            assert!(order.steps.is_sorted_by_key(|step| step.at.from(end)), "{} is told out of order", order.id);
        }
    }

    #[test]
    fn people_say_at_most_two_sentences() {
        for order in Story::read().unwrap().orders {
            for step in order.steps {
                let sentences = step.says.matches(['.', '?', '!']).count();
                assert!(sentences <= 2, "{}: {}", order.id, step.says);
            }
        }
    }
}
