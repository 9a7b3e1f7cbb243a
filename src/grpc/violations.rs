//! Reads the fields of requests, and collects everything that is wrong with them, to be returned at once.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use prost_types::Timestamp as ProtoTimestamp;
use uuid::Uuid;

use super::status::{Failure, Violation};
use crate::domain::{Currency, DisputeId, DisputeRef, Money, OrderId, Reason, ReasonCode, Timestamp, UserId, text};
use crate::proto::{Money as ProtoMoney, v1};

/// How many values one list of a filter can have.
pub(super) const FILTER_VALUES: usize = 100;

/// What is wrong with a request so far. Each reader notes what is wrong with its field and returns `None`.
#[derive(Default)]
pub(super) struct Violations {
    found: Vec<Violation>,
    /// The currency of the stored order that the request is about, where that had to be looked up: see
    /// [`is_of_the_list`].
    of_order: Option<Currency>,
    /// The same of each of the orders that the request is about.
    of_orders: Currencies,
}

/// The currencies of stored orders, as far as they had to be looked up.
pub(super) type Currencies = HashMap<OrderId, Currency>;

/// Whether an amount is one of a currency of the list. If not, it can still be one of an order that was taken in when the
/// list had its currency, or had it with more decimals.
pub(super) fn is_of_the_list(money: &ProtoMoney) -> bool {
    let listed = Currency::from_code(&money.currency_code);
    listed.is_some_and(|currency| Money::from_units(money.units, money.nanos, currency).is_ok())
}

impl Violations {
    /// Nothing is wrong yet. All amounts are those of an order in this currency.
    pub(super) fn with_currency(of_order: Option<Currency>) -> Self {
        Self { of_order, ..Self::default() }
    }

    /// Nothing is wrong yet. Amounts are those of several orders, these among them.
    pub(super) fn with_currencies(of_orders: Currencies) -> Self {
        Self { of_orders, ..Self::default() }
    }

    /// Amounts are from here on those of this order.
    pub(super) fn set_order(&mut self, order: Option<&OrderId>) {
        self.of_order = order.and_then(|order| self.of_orders.get(order)).copied();
    }

    /// Notes that a field is not as it must be.
    pub(super) fn add(&mut self, field: impl Into<String>, description: impl ToString) {
        self.found.push(Violation { field: field.into(), description: description.to_string() });
    }

    /// The value, or what is wrong with the field.
    pub(super) fn check<T>(&mut self, field: &str, value: Result<T, impl Display>) -> Option<T> {
        value.map_err(|error| self.add(field, error)).ok()
    }

    /// What was read, unless anything is wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            None if self.found.is_empty() => Err(Failure::internal("a field is wrong and nobody said what")),
            Some(_) | None => Err(Failure::invalid_fields(self.found)),
        }
    }

    /// An order's id.
    pub(super) fn order_id(&mut self, field: &str, id: &str) -> Option<OrderId> {
        self.check(field, OrderId::parse(id))
    }

    /// A user's id.
    pub(super) fn user_id(&mut self, field: &str, id: &str) -> Option<UserId> {
        self.check(field, UserId::parse(id))
    }

    /// A user's id that may be absent.
    pub(super) fn optional_user_id(&mut self, field: &str, id: &str) -> Option<Option<UserId>> {
        if id.is_empty() { Some(None) } else { self.user_id(field, id).map(Some) }
    }

    /// A dispute's id.
    pub(super) fn dispute_id(&mut self, field: &str, id: &str) -> Option<DisputeId> {
        self.check(field, Uuid::parse_str(id).map(DisputeId).map_err(|_| "must be a UUID"))
    }

    /// A text, normalised.
    pub(super) fn text(&mut self, field: &str, raw: &str, length: &RangeInclusive<usize>) -> Option<String> {
        self.check(field, text::normalise(raw, length))
    }

    /// An order's title, normalised.
    pub(super) fn title(&mut self, field: &str, raw: &str) -> Option<String> {
        self.check(field, text::normalise_title(raw))
    }

    /// An amount that must be there.
    pub(super) fn money(&mut self, field: &str, money: Option<&ProtoMoney>) -> Option<Money> {
        let Some(money) = money else {
            self.add(field, "must be set");
            return None;
        };
        let of_order = self.of_order.filter(|currency| currency.code() == money.currency_code);
        let Some(currency) = of_order.or_else(|| Currency::from_code(&money.currency_code)) else {
            self.add(format!("{field}.currency_code"), "must be a currency code of ISO 4217");
            return None;
        };
        self.check(field, Money::from_units(money.units, money.nanos, currency))
    }

    /// An instant that may be absent; what is finer than a microsecond is cut off.
    #[expect(clippy::option_option, reason = "wrong, absent, there")]
    pub(super) fn instant(&mut self, field: &str, instant: Option<&ProtoTimestamp>) -> Option<Option<Timestamp>> {
        let Some(instant) = instant else { return Some(None) };
        self.check(
            field,
            known_instant(instant).map(Some).ok_or("must be a valid instant within the years 0001 to 9999"),
        )
    }

    /// An instant that must be there.
    pub(super) fn required_instant(&mut self, field: &str, instant: Option<&ProtoTimestamp>) -> Option<Timestamp> {
        if instant.is_none() {
            self.add(field, "must be set");
        }
        self.instant(field, instant)?
    }

    /// A value of an enum; UNSPECIFIED and unknown numbers are wrong.
    pub(super) fn value<P: TryFrom<i32>, D>(
        &mut self,
        field: &str,
        number: i32,
        known: impl Fn(P) -> Option<D>,
    ) -> Option<D> {
        let value = P::try_from(number).ok().and_then(known);
        self.check(field, value.ok_or("must be one of the named values"))
    }

    /// A value of an enum that may be absent, which UNSPECIFIED says.
    #[expect(clippy::option_option, reason = "wrong, absent, there")]
    pub(super) fn optional_value<P: TryFrom<i32>, D>(
        &mut self,
        field: &str,
        number: i32,
        known: impl Fn(P) -> Option<D>,
    ) -> Option<Option<D>> {
        if number == 0 { Some(None) } else { self.value(field, number, known).map(Some) }
    }

    /// The values of one list of a filter.
    pub(super) fn list<T, D: Eq + Hash>(
        &mut self,
        field: &str,
        values: &[T],
        mut read: impl FnMut(&mut Self, &str, &T) -> Option<D>,
    ) -> HashSet<D> {
        if values.len() > FILTER_VALUES {
            self.add(field, format!("must have at most {FILTER_VALUES} values"));
            return HashSet::new();
        }
        let mut read_one = |(index, value)| read(self, &format!("{field}[{index}]"), value);
        values.iter().enumerate().filter_map(&mut read_one).collect()
    }

    /// A request id that may be absent.
    #[expect(clippy::option_option, reason = "wrong, absent, there")]
    pub(super) fn request_id(&mut self, id: &str) -> Option<Option<Uuid>> {
        if id.is_empty() {
            return Some(None);
        }
        self.check("request_id", Uuid::parse_str(id).map(Some).map_err(|_| "must be a UUID"))
    }

    /// A reason: a code that is given, and a detail if and only if it is OTHER.
    pub(super) fn reason(&mut self, code: i32, detail: &str) -> Option<Reason> {
        let code = self.value("reason", code, v1::Reason::known);
        match code? {
            ReasonCode::Other => {
                let detail = self.text("reason_detail", detail, &text::REASON_DETAIL)?;
                Some(Reason { code: ReasonCode::Other.into(), detail })
            }
            code => {
                if text::normalise(detail, &text::NO_TEXT).is_err() {
                    self.add("reason_detail", "must only be set with REASON_OTHER");
                }
                Some(Reason { code: code.into(), detail: String::new() })
            }
        }
    }

    /// The dispute that a command is about, in the state with this etag if one is given, and what is said to it.
    pub(super) fn dispute_ref(&mut self, dispute: &str, etag: &str, message: Option<String>) -> Option<DisputeRef> {
        let dispute = self.dispute_id("dispute_id", dispute);
        let etag = (!etag.is_empty()).then(|| etag.to_owned());
        Some(DisputeRef { dispute: dispute?, message: message?, etag })
    }

    /// How many rows a page can have: 50 if nothing is said, 500 at the most.
    pub(super) fn page_size(&mut self, page_size: i32) -> Option<usize> {
        match usize::try_from(page_size) {
            Ok(0) => Some(50),
            Ok(size) => Some(size.min(500)),
            Err(_) => {
                self.add("page_size", "must not be negative");
                None
            }
        }
    }

    /// The interval of heartbeats: 15 s if nothing is said.
    pub(super) fn heartbeat(&mut self, interval: Option<prost_types::Duration>) -> Option<Duration> {
        let Some(interval) = interval else { return Some(Duration::from_secs(15)) };
        let heartbeat = Duration::try_from(interval).ok();
        let allowed = Duration::from_secs(1)..=Duration::from_secs(60);
        let heartbeat = heartbeat.filter(|heartbeat| allowed.contains(heartbeat));
        self.check("heartbeat_interval", heartbeat.ok_or("must be from 1 s to 60 s"))
    }
}

/// The instant, in whole microseconds; `None` outside the years 0001 to 9999.
pub(super) fn known_instant(instant: &ProtoTimestamp) -> Option<Timestamp> {
    let nanos = (0..1_000_000_000).contains(&instant.nanos).then_some(instant.nanos)?;
    let micros = instant.seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))?;
    Timestamp::from_micros(micros)
}
