//! The enums of the contract and those of the rules: the same names and numbers, which a test compares, but where the
//! contract has one word for two things.

use crate::domain::{self, Carried, Code as _};
use crate::proto::v1;

/// The number that a value has in the contract, also one that this release does not know.
pub(super) fn number<D, P: From<D> + Into<i32>>(value: Carried<D>) -> i32 {
    match value {
        Carried::Known(value) => P::from(value).into(),
        Carried::Newer(number) => number.into(),
    }
}

/// Declares that the values of a domain enum are those of an enum of the contract.
macro_rules! same_values {
    ($($known:ident => $sent:ident),+ $(,)?) => {
        $(
            impl From<domain::$known> for v1::$sent {
                fn from(value: domain::$known) -> Self {
                    Self::try_from(i32::from(value.code())).unwrap_or(Self::Unspecified)
                }
            }

            impl v1::$sent {
                /// The value in the domain; `None` for UNSPECIFIED.
                #[allow(dead_code, reason = "not every enum comes in requests")]
                pub(super) fn known(self) -> Option<domain::$known> {
                    domain::$known::from_code(i16::try_from(i32::from(self)).ok()?)
                }

                /// The value's name without the enum's, as error metadata shows it.
                #[allow(dead_code, reason = "not every enum is shown in errors")]
                pub(super) fn name(self) -> &'static str {
                    let prefix = Self::Unspecified.as_str_name().trim_end_matches("UNSPECIFIED");
                    self.as_str_name().trim_start_matches(prefix)
                }
            }
        )+

        /// Each enum of the contract, with the number and the name of each value in the domain.
        #[cfg(test)]
        fn known_values() -> Vec<(&'static str, Vec<(i32, String)>)> {
            vec![$((stringify!($sent), tests::values::<domain::$known>())),+]
        }
    };
}

same_values!(
    OrderStatus => OrderStatus,
    PartyRole => PartyRole,
    ActorRole => ActorRole,
    DisputeKind => DisputeKind,
    DisputeStatus => DisputeStatus,
    SettlementStatus => SettlementStatus,
    DisputeAction => DisputeAction,
    Effect => Effect,
    SilenceRule => SilenceRule,
    EventType => EventType,
    ReasonCode => Reason,
);

impl From<domain::ResolvedBy> for v1::ResolvedBy {
    fn from(by: domain::ResolvedBy) -> Self {
        match by {
            // The contract has one word for both; only the rules of escalation tell them apart.
            domain::ResolvedBy::OrderCompleted | domain::ResolvedBy::OrderCancelled => Self::OrderEnded,
            domain::ResolvedBy::Responder
            | domain::ResolvedBy::Opener
            | domain::ResolvedBy::Crossed
            | domain::ResolvedBy::Immediate
            | domain::ResolvedBy::Deadline
            | domain::ResolvedBy::OrderStatus
            | domain::ResolvedBy::OtherDispute
            | domain::ResolvedBy::Support => Self::try_from(i32::from(by.code())).unwrap_or(Self::Unspecified),
        }
    }
}

/// The field of the command that has an amount.
pub(super) fn field_of_amount(amount: domain::AmountOf) -> &'static str {
    match amount {
        domain::AmountOf::Offer => "amount",
        domain::AmountOf::Ruling => "refund",
        domain::AmountOf::Paid => "paid",
        domain::AmountOf::RefundedElsewhere => "refunded_elsewhere",
    }
}

/// The field of an order that says what never changes.
pub(super) fn field_of_identity(identity: domain::OrderIdentity) -> &'static str {
    match identity {
        domain::OrderIdentity::Buyer => "buyer_id",
        domain::OrderIdentity::Seller => "seller_id",
        domain::OrderIdentity::Price => "price",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::domain::{Code, ResolvedBy, contract_name};
    use crate::proto::DESCRIPTOR_SET;

    /// The number of each value and its name, as the contract writes names.
    pub(super) fn values<C: Code>() -> Vec<(i32, String)> {
        C::VALUES.iter().map(|value| (i32::from(value.code()), contract_name(*value))).collect()
    }

    /// Each enum of the contract, with the number and the name of each value but UNSPECIFIED.
    fn described() -> BTreeMap<String, BTreeSet<(i32, String)>> {
        let files = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap().file;
        let enums = files.iter().filter(|file| file.package() == "disputes.v1").flat_map(|file| &file.enum_type);
        enums
            .map(|one| {
                let prefix = one.value[0].name().trim_end_matches("UNSPECIFIED").to_owned();
                let values = one.value.iter().skip(1);
                let short = |name: &str| name.strip_prefix(&prefix).unwrap().to_owned();
                (one.name().to_owned(), values.map(|value| (value.number(), short(value.name()))).collect())
            })
            .collect()
    }

    #[test]
    fn the_values_of_the_rules_are_those_of_the_contract_by_number_and_name_both_ways() {
        let described = described();
        for (name, known) in known_values() {
            assert_eq!(described[name], known.iter().cloned().collect::<BTreeSet<_>>(), "{name}");
        }
        // One word for two things.
        let known = values::<ResolvedBy>().into_iter().filter(|(_, name)| name != "ORDER_CANCELLED");
        let known: BTreeSet<_> =
            known.map(|(number, name)| (number, name.replace("ORDER_COMPLETED", "ORDER_ENDED"))).collect();
        assert_eq!(described["ResolvedBy"], known);
        for by in ResolvedBy::ALL {
            let sent = v1::ResolvedBy::from(by);
            let is_ended = matches!(by, ResolvedBy::OrderCompleted | ResolvedBy::OrderCancelled);
            assert_eq!(sent == v1::ResolvedBy::OrderEnded, is_ended, "{by:?}");
            assert!(is_ended || i32::from(sent) == i32::from(by.code()), "{by:?}");
        }
        assert_eq!(v1::Reason::OrderedByMistake.name(), "ORDERED_BY_MISTAKE");
        assert_eq!(v1::DisputeKind::Unspecified.known(), None);
    }
}
