//! Rights: who may ask for what. One row for each RPC, and nothing else decides it.
//!
//! A right is about the caller's role in the order at hand. The rules of each command say which of the two parties may do
//! it, the opener or the responder, and in which status. A right that needs a scope is judged by the credential alone,
//! before the message is read. The others are judged once the order is known, by the guards that commands share with
//! `allowed_actions`.

use super::actor::{ActorRole, Caller, Parties, PartyRole, Scope};
use super::dispute::Dispute;
use super::ids::{DisputeId, UserId};
use super::order_aggregate::OrderAggregate;
use super::refusal::Refusal;

/// Who may ask for something. Callers have authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Right {
    /// Everybody.
    SignedIn,
    /// The parties of the order, support and the platform. Lists and streams contain only what the caller is a viewer of.
    Viewers,
    /// The parties of the order.
    Parties,
    /// The parties of the order and support.
    PartiesAndSupport,
    /// Support.
    Support,
    /// The platform.
    Platform,
    /// The user who is asked about, support and the platform.
    Oneself,
}

/// Declares each operation with its right.
macro_rules! rights {
    ($($operation:ident: $right:ident,)+) => {
        /// Something that can be asked for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "named after the RPCs")]
        pub enum Operation {
            $($operation,)+
        }

        impl Operation {
            /// Every operation, in the order of the declaration.
            pub const ALL: [Self; [$(Right::$right),+].len()] = [$(Self::$operation),+];

            /// Who may ask for it.
            pub fn right(self) -> Right {
                match self {
                    $(Self::$operation => Right::$right,)+
                }
            }
        }
    };
}

rights! {
    GetDispute: Viewers,
    GetDisputeOptions: Parties,
    ListReasons: SignedIn,
    OfferPartialRefund: Parties,
    RequestCancellation: Parties,
    RequestOrderUpdate: Parties,
    RequestDeliveryExtension: Parties,
    AcceptDispute: Parties,
    DeclineDispute: Parties,
    AnswerOrderUpdate: Parties,
    WithdrawDispute: PartiesAndSupport,
    EscalateDispute: PartiesAndSupport,
    DecideDispute: Support,
    PostponeDeadline: Support,
    ReportSettlement: Platform,
    ListDisputes: Viewers,
    ListDisputeEvents: Viewers,
    RequestPartialRefund: Parties,
    CounterOffer: Parties,
    WatchDisputes: Viewers,
    UpsertOrder: Platform,
    BatchUpsertOrders: Platform,
    GetOrder: Viewers,
    ListOrders: Viewers,
    GetSellerStanding: Oneself,
    GetClock: Platform,
    AdvanceClock: Platform,
}

impl Right {
    /// Whether it is the right of who has this role in the order.
    fn includes(self, role: ActorRole) -> bool {
        let is_party = role.party().is_some();
        match self {
            Self::SignedIn | Self::Viewers | Self::Oneself => true,
            Self::Parties => is_party,
            Self::PartiesAndSupport => is_party || role == ActorRole::Support,
            Self::Support => role == ActorRole::Support,
            Self::Platform => role == ActorRole::Platform,
        }
    }

    /// The scope without which nobody has it.
    fn scope(self) -> Option<Scope> {
        match self {
            Self::SignedIn | Self::Viewers | Self::Parties | Self::PartiesAndSupport | Self::Oneself => None,
            Self::Support => Some(Scope::Support),
            Self::Platform => Some(Scope::Platform),
        }
    }
}

impl Operation {
    /// What can be judged of the caller by its credential alone.
    ///
    /// # Errors
    ///
    /// The scope that the caller lacks.
    pub fn require_scope(self, caller: &Caller) -> Result<(), Scope> {
        self.right().scope().map_or(Ok(()), |needed| if caller.scope == Some(needed) { Ok(()) } else { Err(needed) })
    }

    /// What can be judged of a caller that asks about a user.
    ///
    /// # Errors
    ///
    /// The scope that the caller lacks.
    pub fn require_scope_about(self, caller: &Caller, user: &UserId) -> Result<(), Scope> {
        let is_about_another = caller.sees_only().is_some_and(|own| own != user);
        if self.right() == Right::Oneself && is_about_another { Err(Scope::Support) } else { Ok(()) }
    }

    /// The role in which the caller asks for it about something of an order with these parties.
    ///
    /// # Errors
    ///
    /// `not_found` for a stranger, who cannot tell the thing from one that does not exist; [`Refusal::WrongRole`] for others
    /// who have no right to it.
    pub fn authorize(
        self,
        caller: &Caller,
        parties: &Parties,
        not_found: impl FnOnce() -> Refusal,
    ) -> Result<ActorRole, Refusal> {
        let role = parties.role_of(caller).ok_or_else(not_found)?;
        if self.right().includes(role) { Ok(role) } else { Err(Refusal::WrongRole) }
    }

    /// The same for what is the right of parties alone.
    pub fn authorize_party(
        self,
        caller: &Caller,
        parties: &Parties,
        not_found: impl FnOnce() -> Refusal,
    ) -> Result<PartyRole, Refusal> {
        self.authorize(caller, parties, not_found)?.party().ok_or(Refusal::WrongRole)
    }
}

impl OrderAggregate {
    /// The dispute that the caller names, and the role in which it asks for this.
    pub(super) fn authorize(
        &self,
        operation: Operation,
        caller: &Caller,
        id: DisputeId,
    ) -> Result<(&Dispute, ActorRole), Refusal> {
        let not_found = || Refusal::DisputeNotFound { dispute: id };
        let dispute = self.dispute(id).ok_or_else(not_found)?;
        let role = operation.authorize(caller, &dispute.parties, not_found)?;
        Ok((dispute, role))
    }
}

/// What callers see.
impl Caller {
    /// The user whose orders are all that the caller sees: itself, without a scope. `None` if it sees every order.
    pub fn sees_only(&self) -> Option<&UserId> {
        match self.scope {
            Some(Scope::Support | Scope::Platform) => None,
            None => Some(&self.user),
        }
    }

    /// Whether it is told the confidential reason of a dispute of these parties: its opener and support are. `None` is an
    /// opener of whom this release does not know which party it is.
    pub(super) fn sees_reason(&self, parties: &Parties, opener: Option<PartyRole>) -> bool {
        match parties.role_of(self) {
            Some(ActorRole::Support) => true,
            Some(ActorRole::Buyer) => opener == Some(PartyRole::Buyer),
            Some(ActorRole::Seller) => opener == Some(PartyRole::Seller),
            Some(ActorRole::Platform | ActorRole::System) | None => false,
        }
    }

    /// Whether it is told which agent decided: support is.
    pub fn sees_agents(&self) -> bool {
        self.scope == Some(Scope::Support)
    }

    /// Whether it is told why a payment failed, was returned or was voided: support and the platform are.
    pub fn sees_settlement_details(&self) -> bool {
        self.scope.is_some()
    }
}

impl Parties {
    /// Whether the caller may see what is between these two.
    pub fn may_be_seen_by(&self, caller: &Caller) -> bool {
        self.role_of(caller).is_some()
    }
}
