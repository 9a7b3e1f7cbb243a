//! Who asks, and who did it.

use super::code::codes;
use super::ids::UserId;

codes! {
    /// A right beyond being a party: what a scope in the caller's credential gives.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Scope {
        /// An agent of the marketplace, who sees everything.
        Support = 1,
        /// Another service of the marketplace: feeds orders in and watches everything.
        Platform = 2,
    }
}

impl Scope {
    /// Its name in a credential.
    pub fn name(self) -> &'static str {
        match self {
            Self::Support => "support",
            Self::Platform => "platform",
        }
    }
}

/// Who asks, as the credential says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Caller {
    /// The user or service.
    pub user: UserId,
    /// With a scope the caller is never a party, whatever its id.
    pub scope: Option<Scope>,
}

codes! {
    /// One of the two parties of an order.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum PartyRole {
        /// Who pays.
        Buyer = 1,
        /// Who delivers.
        Seller = 2,
    }
}

impl PartyRole {
    /// The other party.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Buyer => Self::Seller,
            Self::Seller => Self::Buyer,
        }
    }
}

/// The two parties of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parties {
    /// Who pays.
    pub buyer: UserId,
    /// Who delivers.
    pub seller: UserId,
}

impl Parties {
    /// The caller's role in what is between these two; `None` for a stranger.
    pub fn role_of(&self, caller: &Caller) -> Option<ActorRole> {
        match caller.scope {
            Some(Scope::Support) => Some(ActorRole::Support),
            Some(Scope::Platform) => Some(ActorRole::Platform),
            None if caller.user == self.buyer => Some(ActorRole::Buyer),
            None if caller.user == self.seller => Some(ActorRole::Seller),
            None => None,
        }
    }
}

codes! {
    /// The role in which something is done.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[expect(missing_docs, reason = "explained by Actor")]
    pub enum ActorRole {
        Buyer = 1,
        Seller = 2,
        Support = 3,
        Platform = 4,
        System = 5,
    }
}

/// Who did something. What passes by time is done by the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// A party of the order.
    Party(PartyRole, UserId),
    /// An agent of the marketplace.
    Support(UserId),
    /// Another service of the marketplace.
    Platform(UserId),
    /// The service itself, when a deadline passes.
    System,
}

impl From<PartyRole> for ActorRole {
    fn from(role: PartyRole) -> Self {
        match role {
            PartyRole::Buyer => Self::Buyer,
            PartyRole::Seller => Self::Seller,
        }
    }
}

impl ActorRole {
    /// The party whose role it is, if it is one's.
    pub fn party(self) -> Option<PartyRole> {
        match self {
            Self::Buyer => Some(PartyRole::Buyer),
            Self::Seller => Some(PartyRole::Seller),
            Self::Support | Self::Platform | Self::System => None,
        }
    }
}

impl Actor {
    /// Who does what comes of a caller's command on an order of these parties. A command of somebody else's than its
    /// parties and support is accepted of the platform alone.
    pub fn for_caller(caller: &Caller, parties: &Parties) -> Self {
        let user = caller.user.clone();
        match parties.role_of(caller) {
            Some(ActorRole::Buyer) => Self::Party(PartyRole::Buyer, user),
            Some(ActorRole::Seller) => Self::Party(PartyRole::Seller, user),
            Some(ActorRole::Support) => Self::Support(user),
            Some(ActorRole::Platform | ActorRole::System) | None => Self::Platform(user),
        }
    }

    /// The role in which it was done.
    pub fn role(&self) -> ActorRole {
        match self {
            Self::Party(role, _) => (*role).into(),
            Self::Support(_) => ActorRole::Support,
            Self::Platform(_) => ActorRole::Platform,
            Self::System => ActorRole::System,
        }
    }
}
