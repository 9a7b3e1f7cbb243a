//! What the parties of a dispute have offered each other.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::domain::{Bargain, CounterOffer, Currency, Money, Timestamp};
use crate::repository::error::StorageError;

/// A counter-offer in the list of them, in the currency of the dispute and in microseconds.
#[derive(Serialize, Deserialize)]
struct Stored {
    amount: i64,
    message: String,
    time: i64,
}

/// The columns of a bargain: the maximum, the amount of the opening, and the counter-offers, as JSON where there are some.
pub(super) type Columns = (i16, Option<i64>, String);

pub(super) fn bargain_from(
    row: &Row,
    (max, opened_with, offers): Columns,
    currency: Option<Currency>,
) -> Result<Bargain, StorageError> {
    let max_counter_offers = u32::try_from(max).map_err(|_| row.corrupt("max_counter_offers"))?;
    if offers.is_empty() && opened_with.is_none() {
        return Ok(Bargain { max_counter_offers, ..Bargain::default() });
    }
    let corrupt = || row.corrupt("counter_offers");
    let currency = currency.ok_or_else(corrupt)?;
    let stored: Vec<Stored> = serde_json::from_str(&offers).map_err(|_| corrupt())?;
    let counter_offer = |Stored { amount, message, time }| {
        let time = Timestamp::from_micros(time).ok_or_else(corrupt)?;
        Ok::<_, StorageError>(CounterOffer { amount: Money::new(amount, currency), message, time })
    };
    let counter_offers: Vec<_> = stored.into_iter().map(counter_offer).collect::<Result<_, _>>()?;
    let opened_with =
        opened_with.filter(|_| !counter_offers.is_empty()).ok_or_else(|| row.corrupt("opened_with_minor"))?;
    Ok(Bargain { max_counter_offers, opened_with: Some(Money::new(opened_with, currency)), counter_offers })
}

pub(super) fn bargain_columns(bargain: Bargain) -> Columns {
    let Bargain { max_counter_offers, opened_with, counter_offers } = bargain;
    let stored = |CounterOffer { amount, message, time }| Stored { amount: amount.minor, message, time: time.micros() };
    let offers: Vec<Stored> = counter_offers.into_iter().map(stored).collect();
    let offers = if offers.is_empty() { String::new() } else { serde_json::to_string(&offers).unwrap_or_default() };
    // At most 20.
    (i16::try_from(max_counter_offers).unwrap_or(i16::MAX), opened_with.map(|amount| amount.minor), offers)
}
