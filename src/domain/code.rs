//! Enums whose values are stored and sent as numbers: each is declared once, with its numbers. They are those of the
//! contract, and never change.

use std::fmt::Debug;

use super::carried::Carried;

/// A value that is stored as a number above zero.
pub trait Code: Copy + PartialEq + Debug + 'static {
    /// Every value.
    const VALUES: &'static [Self];

    /// The number of a value.
    fn code(self) -> i16;

    /// The value with this number, if this release knows one.
    fn from_code(code: i16) -> Option<Self>;

    /// The highest number that this release knows.
    fn highest() -> i16 {
        Self::VALUES.iter().map(|value| value.code()).max().unwrap_or_default()
    }

    /// Whether this can be the number of a value that a newer release has added: those are above zero.
    fn is_newer(code: i16) -> bool {
        code > 0 && Self::from_code(code).is_none()
    }

    /// The value with this number, or the number of a newer one; `None` if it can be neither.
    fn carried(code: i16) -> Option<Carried<Self>> {
        Self::from_code(code).map(Carried::Known).or(Self::is_newer(code).then_some(Carried::Newer(code)))
    }
}

/// Declares an enum with the number of each value.
macro_rules! codes {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$about:meta])* $value:ident = $code:literal,)+
        }
    ) => {
        $(#[$attribute])*
        pub enum $name {
            $($(#[$about])* $value,)+
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: [Self; [$($code),+].len()] = [$(Self::$value),+];
        }

        impl $crate::domain::Code for $name {
            const VALUES: &'static [Self] = &Self::ALL;

            fn code(self) -> i16 {
                match self {
                    $(Self::$value => $code,)+
                }
            }

            // A number that comes twice does not compile without a warning.
            fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use codes;

/// The name of a value as the contract writes names, without that of its enum.
#[cfg(all(test, feature = "server"))]
pub(crate) fn contract_name<C: Code>(value: C) -> String {
    let mut name = String::new();
    for (index, letter) in format!("{value:?}").chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::{
        ActorRole, AuditAction, DisputeAction, DisputeKind, DisputeStatus, Effect, EventType, OrderStatus, PartyRole,
        ReasonCode, ResolvedBy, Scope, SettlementStatus, SilenceRule,
    };

    fn check<C: Code>() {
        let codes: HashSet<i16> = C::VALUES.iter().map(|value| value.code()).collect();
        assert_eq!(codes.len(), C::VALUES.len(), "a number comes twice");
        for value in C::VALUES {
            let code = value.code();
            assert_eq!(C::from_code(code), Some(*value));
            assert_eq!(C::carried(code).map(Carried::code), Some(code));
        }
        assert_eq!(C::carried(99), Some(Carried::Newer(99)));
        assert_eq!((C::carried(0), C::carried(-1)), (None, None));
        assert_eq!(C::from_code(0), None);
        assert_eq!(C::from_code(99), None);
    }

    #[test]
    fn each_value_has_a_number_of_its_own() {
        check::<OrderStatus>();
        check::<PartyRole>();
        check::<ActorRole>();
        check::<SettlementStatus>();
        check::<DisputeKind>();
        check::<DisputeStatus>();
        check::<SilenceRule>();
        check::<ResolvedBy>();
        check::<EventType>();
        check::<ReasonCode>();
        check::<DisputeAction>();
        check::<Effect>();
        check::<Scope>();
        check::<AuditAction>();
    }
}
