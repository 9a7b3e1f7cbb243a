//! Collects everything that is wrong with a request, to be answered at once.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::ops::RangeInclusive;
use std::time::Duration;

use prost_types::Timestamp as ProtoTimestamp;
use uuid::Uuid;

use super::status::{Failure, Violation};
use crate::domain::{Currency, DisputeId, Money, OrderId, Timestamp, UserId, text};
use crate::proto::Money as ProtoMoney;

/// How many values one list of a filter can have.
pub(super) const FILTER_VALUES: usize = 100;

/// What is wrong with a request so far. Each reader notes what is wrong with its field and answers `None`.
#[derive(Default)]
pub(super) struct Violations {
    found: Vec<Violation>,
    /// The currency of the stored order that the request is about, where that had to be looked up: see
    /// [`is_of_the_list`].
    of_order: Option<Currency>,
}

/// Whether an amount is one of a currency of the list. If not, it can still be one of an order that was taken in when the
/// list had its currency, or had it with more decimals.
pub(super) fn is_of_the_list(money: &ProtoMoney) -> bool {
    let listed = Currency::from_code(&money.currency_code);
    listed.is_some_and(|currency| Money::from_units(money.units, money.nanos, currency).is_ok())
}

impl Violations {
    /// Amounts are from here on those of an order in this currency.
    pub(super) fn set_order_currency(&mut self, currency: Option<Currency>) {
        self.of_order = currency;
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
