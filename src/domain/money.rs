//! Money: an integer count of a currency's minor units. Never a float, also not on the way.

use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::refusal::{AmountOf, Refusal};

/// A currency and its number of decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Currency {
    /// Three letters.
    code: [u8; 3],
    exponent: u32,
}

impl Currency {
    /// The currency of ISO 4217 with this three-letter code; `None` for an unknown code and for the codes that
    /// have no minor unit at all (gold, the test currency).
    pub fn from_code(code: &str) -> Option<Self> {
        let listed = iso_currency::Currency::from_code(code)?;
        Self::stored(listed.code(), u32::from(listed.exponent()?))
    }

    /// The currency of a stored amount, with the exponent that it was stored with: also one that the list no longer
    /// has, or has with another exponent.
    pub fn stored(code: &str, exponent: u32) -> Option<Self> {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        let is_code = code.iter().all(u8::is_ascii_uppercase) && exponent <= 9;
        is_code.then_some(Self { code, exponent })
    }

    /// The three-letter code, `USD`.
    pub fn code(&self) -> &str {
        // Three letters are.
        std::str::from_utf8(&self.code).unwrap_or_default()
    }

    /// The number of decimals: 2 for USD, 0 for JPY, 3 for KWD.
    pub fn exponent(self) -> u32 {
        self.exponent
    }
}

/// Why units and nanos are no amount of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Units and nanos disagree in sign, or nanos reach a whole unit.
    #[error("units and nanos must have the same sign, and nanos must be within ±999999999")]
    Malformed,
    /// More decimals than the currency has.
    #[error("has more decimals than the currency")]
    TooPrecise,
    /// More minor units than 64 bits count.
    #[error("is too large")]
    TooLarge,
}

/// An amount in minor units of its currency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Money {
    /// Minor units: cents for USD.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// So many minor units of a currency.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// An amount given as whole units and billionths of a unit (`google.type.Money`). Never rounds.
    pub fn from_units(units: i64, nanos: i32, currency: Currency) -> Result<Self, InvalidMoney> {
        let same_sign = units == 0 || nanos == 0 || (units < 0) == (nanos < 0);
        if !same_sign || !(-999_999_999..=999_999_999).contains(&nanos) {
            return Err(InvalidMoney::Malformed);
        }
        // At most 28 digits, which a Decimal holds exactly.
        let amount = Decimal::from(units).checked_add(Decimal::new(nanos.into(), 9)).ok_or(InvalidMoney::TooLarge)?;
        let minor = amount.checked_mul(Decimal::from(10_i64.pow(currency.exponent))).ok_or(InvalidMoney::TooLarge)?;
        if !minor.fract().is_zero() {
            return Err(InvalidMoney::TooPrecise);
        }
        let minor = minor.to_i64().ok_or(InvalidMoney::TooLarge)?;
        Ok(Self { minor, currency })
    }

    /// The same amount in an order's currency, should that have kept another number of decimals than the list has now;
    /// `None` if the currency is another one, or has too few decimals. Never rounds.
    pub fn of_order(self, currency: Currency) -> Option<Self> {
        let (units, nanos) = self.to_units();
        (self.currency.code == currency.code).then(|| Self::from_units(units, nanos, currency).ok()).flatten()
    }

    /// The amount is in an order's currency, and in the decimals that this was stored with.
    pub(super) fn require_currency(self, amount: AmountOf, expected: Currency) -> Result<(), Refusal> {
        if self.currency == expected {
            Ok(())
        } else if self.currency.code == expected.code {
            Err(Refusal::TooPreciseForOrder { amount, expected })
        } else {
            Err(Refusal::CurrencyNotOfOrder { amount, expected })
        }
    }

    /// Whole units, and billionths of a unit with the same sign (`google.type.Money`).
    pub fn to_units(self) -> (i64, i32) {
        let amount = self.decimal();
        let nanos = amount.fract() * Decimal::from(1_000_000_000);
        (amount.trunc().to_i64().unwrap_or_default(), nanos.to_i32().unwrap_or_default())
    }

    /// The share of this amount in basis points, rounded down to the minor unit.
    #[must_use]
    pub fn share(self, basis_points: u32) -> Self {
        let share = i128::from(self.minor) * i128::from(basis_points) / 10_000;
        // At most the amount itself for a share of at most 10,000 basis points.
        Self { minor: i64::try_from(share).unwrap_or(i64::MAX), currency: self.currency }
    }

    /// The amount in whole units, exactly.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent)
    }
}

/// `12.50 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).unwrap()
    }

    #[test]
    fn the_cap_is_60_percent_rounded_down() {
        let usd = [
            (20_000, 12_000),
            (10_000, 6_000),
            (5_001, 3_000),
            (5_003, 3_001),
            (9_899, 5_939),
            (333, 199),
            (95, 57),
            (75, 45),
            (5, 3),
            (2, 1),
            (1, 0),
            (150, 90),
            (165, 99),
            (190, 114),
        ];
        for (price, cap) in usd {
            assert_eq!(Money::new(price, currency("USD")).share(6_000).minor, cap, "{price} cents");
        }
        assert_eq!(Money::new(333, currency("JPY")).share(6_000).to_string(), "199 JPY");
        assert_eq!(Money::new(1_001, currency("KWD")).share(6_000).to_string(), "0.600 KWD");
    }

    #[test]
    fn units_and_nanos_are_taken_exactly_or_not_at_all() {
        let cases = [
            ("a whole amount", 120, 0, "USD", Ok(12_000)),
            ("cents", 0, 10_000_000, "USD", Ok(1)),
            ("half a cent is never rounded", 0, 5_000_000, "USD", Err(InvalidMoney::TooPrecise)),
            ("yen have no decimals", 3, 500_000_000, "JPY", Err(InvalidMoney::TooPrecise)),
            ("dinars have three", 1, 1_000_000, "KWD", Ok(1_001)),
            ("negative amounts agree in sign", -1, -500_000_000, "USD", Ok(-150)),
            ("signs that disagree", 1, -1, "USD", Err(InvalidMoney::Malformed)),
            ("nanos of a whole unit", 0, 1_000_000_000, "USD", Err(InvalidMoney::Malformed)),
            ("nanos at their limit", 0, i32::MIN, "USD", Err(InvalidMoney::Malformed)),
            ("more cents than 64 bits count", i64::MAX, 0, "USD", Err(InvalidMoney::TooLarge)),
            ("the smallest units", i64::MIN, -999_999_999, "KWD", Err(InvalidMoney::TooPrecise)),
            ("the largest yen", i64::MAX, 0, "JPY", Ok(i64::MAX)),
        ];
        for (name, units, nanos, code, expected) in cases {
            let minor = Money::from_units(units, nanos, currency(code)).map(|money| money.minor);
            assert_eq!(minor, expected, "{name}");
        }
    }

    #[test]
    fn codes_without_a_minor_unit_are_no_currency() {
        for code in ["XAU", "XXX", "usd", "US", "", "ABC"] {
            assert_eq!(Currency::from_code(code), None, "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cap_never_exceeds_60_percent_and_one_more_minor_unit_does(
            price in 0..=i64::MAX,
            code in prop::sample::select(vec!["USD", "EUR", "JPY", "KWD", "CLF", "HUF", "ISK"]),
        ) {
            let cap = i128::from(Money::new(price, currency(code)).share(6_000).minor);
            let price = i128::from(price);
            prop_assert!(cap * 10 <= price * 6);
            prop_assert!((cap + 1) * 10 > price * 6);
        }

        #[test]
        fn units_and_nanos_round_trip(
            minor: i64,
            code in prop::sample::select(vec!["USD", "JPY", "KWD", "CLF"]),
        ) {
            let money = Money::new(minor, currency(code));
            let (units, nanos) = money.to_units();
            prop_assert_eq!(Money::from_units(units, nanos, money.currency), Ok(money));
        }
    }
}
