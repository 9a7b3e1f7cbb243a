//! What callers read: each read when it is the caller's turn, and only what the caller may see.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::Error;
use super::feed::FeedError;
use super::feed::history::{end_of, require_known};
use super::feed::token::Position;
use crate::clock::Clock;
use crate::domain::{
    Caller, Currency, DisputeId, Operation, OrderAggregate, OrderId, OrderView, PartyRole, Policy, Refusal,
    SellerStanding, Subject, Timestamp, UserId, after_the_clock,
};
use crate::repository::{
    DisputeQuery, Found, LogId, OrderQuery, ReadClass, Reader, Repository, Row, StorageError, Taken,
};

/// Where plain reads go.
#[derive(Debug)]
pub struct Reads {
    repository: Arc<Repository>,
    clock: Clock,
    policy: Arc<Policy>,
}

/// What a party can do about an order is judged by this.
#[derive(Clone, Debug)]
pub struct OptionsFound {
    /// The order with its open disputes, and with the ended ones that count. What is overdue is judged already, whether or
    /// not that has been recorded yet.
    pub aggregate: OrderAggregate,
    /// The caller's role.
    pub role: PartyRole,
    /// How the caller stands, if it is the seller.
    pub standing: Option<SellerStanding>,
    /// When.
    pub now: Timestamp,
}

/// A page of disputes.
#[derive(Clone, Debug)]
pub struct DisputePage {
    /// What the query finds, as it was at one moment.
    pub rows: Vec<Row<DisputeId, Found>>,
    /// The log.
    pub log: LogId,
    /// The end of the log at that moment: every event up to there is behind what was found, and none that follows.
    pub end: Position,
}

impl Reads {
    /// Reads of this database.
    pub fn new(repository: Arc<Repository>, clock: Clock, policy: Arc<Policy>) -> Self {
        Self { repository, clock, policy }
    }

    /// The dispute with this id, in its aggregate.
    pub async fn dispute(&self, caller: &Caller, id: DisputeId) -> Result<Found, Error> {
        let not_found = || Refusal::DisputeNotFound { dispute: id };
        let mut found = self.repository.dispute(caller, id).await?.ok_or_else(not_found)?;
        Operation::GetDispute.authorize(caller, found.dispute().parties(), not_found)?;
        self.add_quotas(caller, found.aggregate_mut().into_iter()).await?;
        Ok(found)
    }

    /// A page of the disputes that a query finds. The pages of a list are of one past: of two, neither what they show
    /// together nor what a watch from their token brings would tell what is lost. So it is an error if the end of the log at
    /// the moment of the page before is there no more; if that place is forgotten meanwhile, nothing is known of it.
    pub async fn disputes(
        &self,
        caller: &Caller,
        query: &DisputeQuery,
        before: Option<Position>,
    ) -> Result<DisputePage, FeedError> {
        let seq = before.map_or(0, |before| before.seq);
        let (mut rows, log, there) =
            self.repository.reader(ReadClass::List, caller).await?.disputes(query, seq).await?;
        let found = rows.iter_mut().filter_map(|row| row.found.as_mut()?.aggregate_mut());
        self.add_quotas(caller, found).await?;
        match before.map_or(Ok(()), |before| require_known(before, there, &log)) {
            Ok(()) | Err(FeedError::Expired { .. }) => Ok(DisputePage { rows, log: log.id, end: end_of(&log) }),
            Err(error) => Err(error),
        }
    }

    /// The order with this id.
    pub async fn order(&self, caller: &Caller, id: OrderId) -> Result<OrderView, Error> {
        let not_found = || Refusal::OrderNotFound { order: id.clone() };
        let aggregate = self.repository.reader(ReadClass::Single, caller).await?.aggregate(&id, &[]).await?;
        let aggregate = aggregate.ok_or_else(not_found)?;
        Operation::GetOrder.authorize(caller, &aggregate.order.parties, not_found)?;
        Ok(aggregate.order_view())
    }

    /// A page of the orders that a query finds, as they were at one moment.
    pub async fn orders(
        &self,
        caller: &Caller,
        query: &OrderQuery,
    ) -> Result<Vec<Row<OrderId, OrderAggregate>>, Error> {
        Ok(self.repository.reader(ReadClass::List, caller).await?.orders(query).await?)
    }

    /// What the options of a caller about an order are judged by; refused to those who are none of its parties.
    pub async fn options(&self, caller: &Caller, id: OrderId) -> Result<OptionsFound, Error> {
        let reader = self.repository.reader(ReadClass::Single, caller).await?;
        let aggregate = reader.aggregate(&id, &self.policy.kinds_with_limited_attempts()).await?;
        let not_found = || Refusal::OrderNotFound { order: id.clone() };
        let mut aggregate = aggregate.ok_or_else(not_found)?;
        let role = Operation::GetDisputeOptions.authorize_party(caller, &aggregate.order.parties, not_found)?;
        let now = self.clock.now();
        let standing = match role {
            PartyRole::Seller => Some(self.standing_at(&reader, &caller.user, now).await?),
            PartyRole::Buyer => None,
        };
        if self.policy.cancellation.no_fault_per_window > 0 {
            aggregate.no_fault_used = self.no_fault_taken(&reader, &aggregate.order.parties.seller, now).await?;
        }
        drop(reader);
        let aggregate = after_the_clock(&aggregate, now).unwrap_or(aggregate);
        Ok(OptionsFound { aggregate, role, standing, now })
    }

    /// How a seller stands now.
    pub async fn seller_standing(&self, caller: &Caller, seller: &UserId) -> Result<SellerStanding, Error> {
        let reader = self.repository.reader(ReadClass::Single, caller).await?;
        Ok(self.standing_at(&reader, seller, self.clock.now()).await?)
    }

    async fn standing_at(
        &self,
        reader: &Reader,
        seller: &UserId,
        now: Timestamp,
    ) -> Result<SellerStanding, StorageError> {
        reader.seller_standing(seller, now.minus(self.policy.standing_window.get()), now).await
    }

    /// Adds what the sellers have taken of their quotas where it decides whether a party can accept.
    async fn add_quotas<'a>(
        &self,
        caller: &Caller,
        aggregates: impl Iterator<Item = &'a mut OrderAggregate>,
    ) -> Result<(), StorageError> {
        let depends = |aggregate: &&mut OrderAggregate| caller.scope.is_none() && aggregate.needs_no_fault_place();
        let mut known = HashMap::new();
        for aggregate in aggregates.filter(depends) {
            let seller = &aggregate.order.parties.seller;
            let used = match known.get(seller) {
                Some(used) => *used,
                None => {
                    let reader = self.repository.reader(ReadClass::Single, caller).await?;
                    let used = self.no_fault_taken(&reader, seller, self.clock.now()).await?;
                    known.insert(seller.clone(), used);
                    used
                }
            };
            aggregate.no_fault_used = used;
        }
        Ok(())
    }

    async fn no_fault_taken(&self, reader: &Reader, seller: &UserId, now: Timestamp) -> Result<u32, StorageError> {
        reader.no_fault_taken(seller, Taken { now, window_start: self.policy.no_fault_window_start(now) }).await
    }

    /// The currency of an order, or of a dispute's order, if the caller may see it: nobody else learns of it.
    pub async fn currency(&self, caller: &Caller, subject: Subject) -> Result<Option<Currency>, Error> {
        let order = match subject {
            Subject::Order(order) => {
                self.repository.reader(ReadClass::Single, caller).await?.orders_named(&[order]).await?.pop()
            }
            Subject::Dispute(dispute) => {
                let found = self.repository.dispute(caller, dispute).await?;
                found.and_then(|found| found.aggregate().map(|aggregate| aggregate.order.clone()))
            }
        };
        let order = order.filter(|order| order.parties.may_be_seen_by(caller));
        Ok(order.map(|order| order.price.currency))
    }

    /// The currencies of those of these orders that are stored, for who may report all of them.
    pub async fn currencies(&self, caller: &Caller, orders: &[OrderId]) -> Result<HashMap<OrderId, Currency>, Error> {
        let reader = self.repository.reader(ReadClass::Single, caller).await?;
        let stored = reader.orders_named(orders).await?.into_iter();
        Ok(stored.map(|order| (order.id, order.price.currency)).collect())
    }
}
