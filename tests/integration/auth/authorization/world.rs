//! Everybody who calls, and the orders and disputes that they call about.

use std::collections::BTreeMap;

use dispute_service::proto::v1;
use tonic::transport::Channel;

use crate::support::callers::{Identity, Party};
use crate::support::messages::*;

/// The title of the caller whose token has expired: the buyer, for whom nothing else is wrong.
pub(super) const EXPIRED: &str = "expired";

/// Callers with their user ids and scopes; `nobody` sends no credential.
const EVERYBODY: [(&str, &str, Option<&str>); 7] = [
    ("buyer", "ann", None),
    ("seller", "bob", None),
    ("stranger", "eve", None),
    ("support", "agent", Some("support")),
    ("platform", "shop", Some("platform")),
    ("nobody", "", None),
    (EXPIRED, "ann", None),
];

/// The order of the stranger, who is the buyer there.
pub(super) const ELSEWHERE: &str = "elsewhere";

/// Somebody who calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) title: &'static str,
    pub(super) user: &'static str,
    pub(super) identity: Identity,
    pub(super) channel: Channel,
    pub(super) party: Party,
}

/// What is called about.
#[derive(Clone, Default)]
pub(super) struct Subject {
    pub(super) order: String,
    /// Empty if there is none.
    pub(super) dispute: String,
}

/// Which party opened the dispute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    Buyer,
    Seller,
}

/// How the order and its dispute are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no dispute.
    Order,
    Pending,
    /// A request for an update, which only a buyer opens, is pending.
    Question,
    Declined,
    EscalatedByOpener,
    EscalatedByResponder,
    EscalatedBySupport,
    /// Accepted, with a refund that is due.
    Refunded,
}

impl Stage {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Order => "",
            Self::Pending => "PENDING",
            Self::Question => "PENDING and an ORDER_UPDATE",
            Self::Declined => "DECLINED",
            Self::EscalatedByOpener => "ESCALATED by its opener",
            Self::EscalatedByResponder => "ESCALATED by its responder",
            Self::EscalatedBySupport => "ESCALATED by support",
            Self::Refunded => "ACCEPTED, its refund DUE",
        }
    }
}

pub(super) struct World {
    /// The code of each reason that was given.
    pub(super) codes: BTreeMap<String, String>,
    callers: Vec<Caller>,
    orders: usize,
}

impl World {
    /// Everybody, with the headers that say so.
    pub(super) async fn new(
        channel: Channel,
        headers: impl Fn(&'static str, &str, Option<&str>) -> Vec<(&'static str, String)>,
    ) -> Self {
        let caller = |(title, user, scope): (&'static str, &'static str, Option<&str>)| {
            let headers = if user.is_empty() { Vec::new() } else { headers(title, user, scope) };
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (identity, party) = (Identity::new(&headers), Party::with(channel.clone(), &headers));
            Caller { title, user, identity, channel: channel.clone(), party }
        };
        let world = Self { codes: BTreeMap::new(), callers: EVERYBODY.into_iter().map(caller).collect(), orders: 0 };
        let theirs = v1::Order { buyer_id: "eve".to_owned(), seller_id: "carl".to_owned(), ..order(ELSEWHERE) };
        world.party("platform").upsert(theirs).await;
        world.party("stranger").ask(update(ELSEWHERE)).await.unwrap();
        world
    }

    /// The same without the caller whose token has expired: headers do not expire.
    pub(super) fn without_expiry(mut self) -> Self {
        self.callers.retain(|caller| caller.title != EXPIRED);
        self
    }

    /// Everybody, in the order of the columns.
    pub(super) fn callers(&self) -> Vec<Caller> {
        self.callers.clone()
    }

    /// The caller with this title.
    pub(super) fn party(&self, title: &str) -> Party {
        self.callers.iter().find(|caller| caller.title == title).unwrap().party.clone()
    }

    /// A new order of the buyer and the seller.
    pub(super) async fn order(&mut self) -> String {
        self.orders += 1;
        let id = format!("o{}", self.orders);
        self.party("platform").upsert(order(&id)).await;
        id
    }

    /// A new order with a dispute at this stage, opened by this party.
    pub(super) async fn prepare(&mut self, stage: Stage, opener: Opener) -> Subject {
        let order = self.order().await;
        let (opener, responder) = match opener {
            Opener::Buyer => ("buyer", "seller"),
            Opener::Seller => ("seller", "buyer"),
        };
        let (mut opener, mut responder) = (self.party(opener), self.party(responder));
        let opened = match stage {
            Stage::Order => return Subject { order, ..Subject::default() },
            Stage::Question => opener.ask(update(&order)).await,
            Stage::Pending
            | Stage::Declined
            | Stage::EscalatedByOpener
            | Stage::EscalatedByResponder
            | Stage::EscalatedBySupport
            | Stage::Refunded => opener.cancel(cancellation(&order)).await,
        };
        let dispute = opened.unwrap().dispute_id;
        let id = dispute.as_str();
        match stage {
            Stage::Order | Stage::Pending | Stage::Question => {}
            Stage::Declined => drop(responder.decline(decline(id)).await.unwrap()),
            Stage::EscalatedByOpener => {
                responder.decline(decline(id)).await.unwrap();
                opener.escalate(escalate(id)).await.unwrap();
            }
            Stage::EscalatedByResponder => {
                responder.decline(decline(id)).await.unwrap();
                responder.escalate(escalate(id)).await.unwrap();
            }
            Stage::EscalatedBySupport => drop(self.party("support").escalate(escalate(id)).await.unwrap()),
            Stage::Refunded => drop(responder.accept(accept(id)).await.unwrap()),
        }
        Subject { order, dispute }
    }
}
