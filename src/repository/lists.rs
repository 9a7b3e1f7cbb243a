//! Lists: which index serves each filter.
//!
//! A query is split into scans, each of which one index reads in order up to the limit; their results are merged.
//! Neither database plans such scans for an OR or for several values of an indexed column. Disputes are found by their
//! keys first, and only the rows of the page are read: otherwise PostgreSQL would join all orders, and would sort rows
//! with all their texts.

use sea_orm::sea_query::{Expr, ExprTrait as _, SubQueryStatement};
use sea_orm::{
    ColumnTrait as _, Condition, DbBackend, EntityTrait as _, Order as Direction, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Select,
};

use super::batch::filled_up;
use super::entity::{OPEN, PENDING, UPDATED, dispute, order};
use super::found::NewerNumbers;
use crate::domain::{
    Code as _, DisputeId, DisputeKind, DisputeStatus, OrderId, OrderStatus, PartyRole, SettlementStatus, Timestamp,
    UserId,
};

/// Selects orders, newest first by (`create_time`, id).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OrderQuery {
    /// Only orders that this user is a party of: the ones that a party may see.
    pub visible_to: Option<UserId>,
    /// Only orders that this user is a party of.
    pub party: Option<UserId>,
    /// The role that `party`, or `visible_to` without one, has in them.
    pub role: Option<PartyRole>,
    /// Only orders in one of these statuses; all if empty.
    pub statuses: Vec<OrderStatus>,
    /// Only orders with an open dispute.
    pub has_open_dispute: bool,
    /// After this one.
    pub after: Option<(Timestamp, OrderId)>,
    /// The maximum number.
    pub limit: u64,
}

/// A party's side in a dispute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The party that raised it.
    Opener,
    /// The party that must answer it.
    Responder,
}

/// The order of a list of disputes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Sort {
    /// By (`create_time`, id), the newest first.
    #[default]
    NewestFirst,
    /// By (`create_time`, id), the oldest first.
    OldestFirst,
    /// Pending ones only, by (`respond_by`, id), the earliest first.
    MostUrgentFirst,
}

/// Selects disputes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DisputeQuery {
    /// Only disputes that this user is a party of: the ones that a party may see.
    pub visible_to: Option<UserId>,
    /// Only these; all if empty.
    pub disputes: Vec<DisputeId>,
    /// Only disputes of these orders; all if empty.
    pub orders: Vec<OrderId>,
    /// Only disputes that this user is a party of.
    pub party: Option<UserId>,
    /// The side that `party`, or `visible_to` without one, has in them.
    pub side: Option<Side>,
    /// Only disputes of these kinds; all if empty.
    pub kinds: Vec<DisputeKind>,
    /// Only disputes in one of these statuses; all if empty.
    pub statuses: Vec<DisputeStatus>,
    /// Only open disputes, including those with a status of a newer release.
    pub open: bool,
    /// Only disputes with a settlement in one of these statuses; all if empty.
    pub settlement_statuses: Vec<SettlementStatus>,
    /// Only disputes with an event after this instant.
    pub updated_after: Option<Timestamp>,
    /// The order of the list.
    pub sort: Sort,
    /// After the dispute with this sort value and id.
    pub after: Option<(Timestamp, DisputeId)>,
    /// Up to this one, in the same terms.
    pub up_to: Option<(Timestamp, DisputeId)>,
    /// The maximum number.
    pub limit: u64,
}

/// A part of a query that one index serves.
pub(super) struct Scan {
    condition: Condition,
    /// The sort column.
    time: Expr,
    /// Whether all its results come after those of the other scans.
    pub(super) comes_last: bool,
}

/// The roles in which the user of a query can be a party, each with its condition: each has its own index. `None` means
/// everybody. A caller that asks for disputes shared with another user is served by the caller's own index: the cost is
/// that of its own disputes, whomever it names.
fn by_role(
    visible_to: Option<&UserId>,
    party: Option<&UserId>,
    role: Option<PartyRole>,
    backend: DbBackend,
    column: impl Fn(PartyRole) -> Expr,
) -> Option<Vec<(PartyRole, Condition)>> {
    let person = party.or(visible_to)?;
    let viewer = visible_to.filter(|viewer| *viewer != person);
    let roles = PartyRole::ALL.into_iter().filter(|each| role.is_none_or(|role| role == *each));
    let condition = |role: PartyRole| {
        let named = if viewer.is_some() { unindexed(&column(role), backend) } else { column(role) };
        let condition = Condition::all().add(named.eq(person.as_str()));
        (role, condition.add_option(viewer.map(|viewer| column(role.other()).eq(viewer.as_str()))))
    };
    Some(roles.map(condition).collect())
}

fn dispute_column(column: dispute::Column) -> Expr {
    Expr::col((dispute::Entity, column))
}

fn dispute_party(role: PartyRole) -> Expr {
    dispute_column(match role {
        PartyRole::Buyer => dispute::Column::BuyerId,
        PartyRole::Seller => dispute::Column::SellerId,
    })
}

fn order_party(role: PartyRole) -> Expr {
    Expr::col(match role {
        PartyRole::Buyer => (order::Entity, order::Column::BuyerId),
        PartyRole::Seller => (order::Entity, order::Column::SellerId),
    })
}

/// Prevents SQLite from choosing the index of this condition: the index of a scan is prescribed rather than guessed.
/// PostgreSQL knows the better one from its statistics.
fn unindexed(column: &Expr, backend: DbBackend) -> Expr {
    match backend {
        DbBackend::Postgres => column.clone(),
        _ => Expr::cust_with_expr("+?", column.clone()),
    }
}

impl DisputeQuery {
    pub(super) fn scans(&self, newer: &NewerNumbers, backend: DbBackend) -> Vec<Scan> {
        use dispute::Column;
        if self.wants_nothing() {
            return Vec::new();
        }
        let time = dispute_column(self.time());
        let scan = |condition| Scan { condition, time: time.clone(), comes_last: false };
        if !self.disputes.is_empty() || !self.orders.is_empty() {
            // Named rows are read by their keys; whether the user is a party of them is only checked.
            let people = self.people(backend, |role| unindexed(&dispute_party(role), backend));
            let parties = people.map(|roles| roles.into_iter().fold(Condition::any(), |any, (_, role)| any.add(role)));
            let condition = Condition::all().add_option(parties);
            if !self.wants_open_only() {
                return vec![scan(condition)];
            }
            // An order has few open disputes, and perhaps many resolved ones: the open ones are sorted, rather than
            // searched among all.
            let condition = condition.add(Expr::cust(OPEN));
            return vec![Scan { condition, time: unindexed(&time, backend), comes_last: false }];
        }
        if let Some(roles) = self.people(backend, dispute_party) {
            if !self.wants_open_only() {
                return roles.into_iter().map(|(_, role)| scan(role)).collect();
            }
            // A party has few open disputes, and many resolved ones: the open ones are sorted, rather than searched
            // among all.
            let time = match self.sort {
                Sort::MostUrgentFirst => time,
                Sort::NewestFirst | Sort::OldestFirst => unindexed(&time, backend),
            };
            let open = |(_, role): (_, Condition)| {
                let condition = role.add(Expr::cust(OPEN));
                Scan { condition, time: time.clone(), comes_last: false }
            };
            return roles.into_iter().map(open).collect();
        }
        let each_settlement = |status: &SettlementStatus| scan(Column::SettlementStatus.eq(status.code()).into());
        let each_status = |status: &DisputeStatus| scan(Column::Status.eq(status.code()).into());
        let unsettled = |status: &SettlementStatus| match status {
            SettlementStatus::Due | SettlementStatus::Failed | SettlementStatus::Returned => true,
            SettlementStatus::Settled | SettlementStatus::Voided => false,
        };
        // The most selective condition first: neither database knows that there are few of these.
        if self.sort == Sort::MostUrgentFirst {
            vec![scan(Condition::all())]
        } else if !self.settlement_statuses.is_empty() && self.settlement_statuses.iter().all(unsettled) {
            self.settlement_statuses.iter().map(each_settlement).collect()
        } else if self.open {
            let open = DisputeStatus::ALL.into_iter().filter(|status| status.is_open());
            let newer = newer.statuses.iter().map(|status| Column::Status.eq(*status).and(Expr::cust(OPEN)));
            open.map(|status| Column::Status.eq(status.code())).chain(newer).map(|status| scan(status.into())).collect()
        } else if self.wants_open_only() {
            self.statuses.iter().map(each_status).collect()
        } else if let Some(updated_after) = self.updated_after {
            // Disputes created since were also updated since. The rest are found by their last event, which is not their
            // opening.
            let since = updated_after.micros();
            let created_since = |kind| scan(Condition::all().add(kind).add(Column::CreateTime.gt(since)));
            let created_before = unindexed(&dispute_column(Column::CreateTime), backend);
            let before = Scan {
                condition: Condition::all().add(created_before.clone().lte(since)).add(Expr::cust(UPDATED)),
                time: created_before,
                comes_last: self.sort == Sort::NewestFirst,
            };
            self.each_kind(newer).map(created_since).chain([before]).collect()
        } else if !self.settlement_statuses.is_empty() {
            self.settlement_statuses.iter().map(each_settlement).collect()
        } else if !self.statuses.is_empty() {
            self.statuses.iter().map(each_status).collect()
        } else {
            self.each_kind(newer).map(|kind| scan(kind.into())).collect()
        }
    }

    /// The condition of each requested kind.
    fn each_kind(&self, newer: &NewerNumbers) -> impl Iterator<Item = Expr> {
        let kinds = if self.kinds.is_empty() { DisputeKind::ALL.to_vec() } else { self.kinds.clone() };
        let kinds = kinds.into_iter().map(|kind| kind.code()).chain(newer.kinds.iter().copied());
        kinds.map(|kind| dispute::Column::Kind.eq(kind)).collect::<Vec<_>>().into_iter()
    }

    /// Whether it is not served by the disputes, orders or users that it names.
    pub(super) fn is_of_everybody(&self) -> bool {
        self.disputes.is_empty() && self.orders.is_empty() && self.visible_to.is_none() && self.party.is_none()
    }

    fn people(&self, backend: DbBackend, column: impl Fn(PartyRole) -> Expr) -> Option<Vec<(PartyRole, Condition)>> {
        let mut roles = by_role(self.visible_to.as_ref(), self.party.as_ref(), None, backend, column)?;
        for (role, condition) in &mut roles {
            let opener = match self.side {
                Some(Side::Opener) => Some(*role),
                Some(Side::Responder) => Some(role.other()),
                None => None,
            };
            *condition = condition.clone().add_option(opener.map(|opener| dispute::Column::Opener.eq(opener.code())));
        }
        Some(roles)
    }

    /// Whether nothing can be found: disputes ordered by urgency are pending.
    fn wants_nothing(&self) -> bool {
        let others = !self.statuses.is_empty() && !self.statuses.contains(&DisputeStatus::Pending);
        self.sort == Sort::MostUrgentFirst && (others || !self.settlement_statuses.is_empty())
    }

    fn wants_open_only(&self) -> bool {
        let only_open = !self.statuses.is_empty() && self.statuses.iter().all(|status| status.is_open());
        self.open || only_open || self.sort == Sort::MostUrgentFirst
    }

    /// The sort column, before the id.
    fn time(&self) -> dispute::Column {
        match self.sort {
            Sort::NewestFirst | Sort::OldestFirst => dispute::Column::CreateTime,
            Sort::MostUrgentFirst => dispute::Column::RespondBy,
        }
    }

    pub(super) fn direction(&self) -> Direction {
        match self.sort {
            Sort::NewestFirst => Direction::Desc,
            Sort::OldestFirst | Sort::MostUrgentFirst => Direction::Asc,
        }
    }

    /// The statement that finds the keys of a scan: sort value and id.
    pub(super) fn keys(&self, scan: Scan, backend: DbBackend) -> Select<dispute::Entity> {
        use dispute::Column;
        let direction = self.direction();
        let key = || Expr::tuple([scan.time.clone(), dispute_column(Column::DisputeId)]);
        let is = |(time, id): (Timestamp, DisputeId)| Expr::tuple([Expr::value(time.micros()), Expr::value(id.0)]);
        let is_descending = direction == Direction::Desc;
        let beyond = self.after.map(|after| if is_descending { key().lt(is(after)) } else { key().gt(is(after)) });
        let within = self.up_to.map(|end| if is_descending { key().gte(is(end)) } else { key().lte(is(end)) });
        dispute::Entity::find()
            .select_only()
            .columns([self.time(), Column::DisputeId])
            .filter(scan.condition.add(self.shared(backend)).add_option(beyond).add_option(within))
            .order_by(scan.time, direction.clone())
            .order_by(Column::DisputeId, direction)
            .limit(self.limit)
    }

    /// The conditions of every scan besides those that its index serves.
    fn shared(&self, backend: DbBackend) -> Condition {
        use dispute::Column;
        let one_of =
            |column: Column, codes: Vec<i16>| unindexed(&dispute_column(column), backend).is_in(filled_up(codes));
        let mut shared = Condition::all();
        if self.sort == Sort::MostUrgentFirst {
            shared = shared.add(Expr::cust(PENDING));
        }
        if !self.disputes.is_empty() {
            shared = shared.add(Column::DisputeId.is_in(filled_up(self.disputes.iter().map(|dispute| dispute.0))));
        }
        if !self.orders.is_empty() {
            shared = shared.add(Column::OrderId.is_in(filled_up(self.orders.iter().map(OrderId::to_string))));
        }
        if !self.kinds.is_empty() {
            shared = shared.add(one_of(Column::Kind, self.kinds.iter().map(|kind| kind.code()).collect()));
        }
        if !self.statuses.is_empty() {
            shared = shared.add(one_of(Column::Status, self.statuses.iter().map(|status| status.code()).collect()));
        }
        if !self.settlement_statuses.is_empty() {
            let codes = self.settlement_statuses.iter().map(|status| status.code()).collect();
            shared = shared.add(one_of(Column::SettlementStatus, codes));
        }
        shared.add_option(self.updated_after.map(|time| Column::UpdateTime.gt(time.micros())))
    }
}

impl OrderQuery {
    /// One statement for each role that the user can have, or for each status.
    pub(super) fn selects(&self, newer: &NewerNumbers, backend: DbBackend) -> Vec<Select<order::Entity>> {
        use order::Column;
        let mut shared = Condition::all();
        if !self.statuses.is_empty() {
            let codes = filled_up(self.statuses.iter().map(|status| status.code()));
            shared = shared.add(unindexed(&Expr::col((order::Entity, Column::Status)), backend).is_in(codes));
        }
        let time = Expr::col(Column::CreateTime);
        let time = if self.has_open_dispute { unindexed(&time, backend) } else { time };
        if let Some((after, id)) = &self.after {
            let key = Expr::tuple([time.clone(), Expr::col(Column::OrderId)]);
            shared = shared.add(key.lt(Expr::tuple([Expr::value(after.micros()), Expr::value(id.as_str())])));
        }
        let scans = if self.has_open_dispute {
            self.with_open_disputes(backend)
        } else {
            self.parties(backend, order_party).unwrap_or_else(|| self.each_status(newer))
        };
        let select = |scan: Condition| {
            order::Entity::find()
                .filter(scan.add(shared.clone()))
                .order_by(time.clone(), Direction::Desc)
                .order_by(Column::OrderId, Direction::Desc)
                .limit(self.limit)
        };
        scans.into_iter().map(select).collect()
    }

    /// The conditions of each role that the user can have, on these columns; `None` means everybody.
    fn parties(&self, backend: DbBackend, column: impl Fn(PartyRole) -> Expr) -> Option<Vec<Condition>> {
        let roles = by_role(self.visible_to.as_ref(), self.party.as_ref(), self.role, backend, column)?;
        Some(roles.into_iter().map(|(_, party)| party).collect())
    }

    /// The condition of each requested status.
    fn each_status(&self, newer: &NewerNumbers) -> Vec<Condition> {
        let statuses = if self.statuses.is_empty() { &OrderStatus::ALL } else { self.statuses.as_slice() };
        let statuses = statuses.iter().map(|status| status.code()).chain(newer.statuses.iter().copied());
        statuses.map(|status| order::Column::Status.eq(status).into()).collect()
    }

    /// Whether it is served status by status because all statuses are requested.
    pub(super) fn is_sum_of_statuses(&self) -> bool {
        !self.has_open_dispute && self.statuses.is_empty() && self.visible_to.is_none() && self.party.is_none()
    }

    /// Orders with an open dispute are found through the dispute, which has the same parties. A party has few of them, which
    /// are sorted. All are walked in the order of the list, up to the limit, by the time that the dispute has of its order;
    /// the few disputes without one are sorted.
    fn with_open_disputes(&self, backend: DbBackend) -> Vec<Condition> {
        let open = || {
            let open = dispute::Entity::find().select_only().column(dispute::Column::OrderId);
            open.filter(Expr::cust(OPEN))
        };
        let found = match self.parties(backend, dispute_party) {
            Some(parties) => parties.into_iter().map(|party| open().filter(party)).collect(),
            None => vec![self.walk(open()), open().filter(dispute::Column::OrderCreateTime.is_null())],
        };
        let among = |disputes: Select<dispute::Entity>| match backend {
            // With IN it would read every order rather than these.
            DbBackend::Postgres => Expr::cust_with_expr(
                "orders.order_id = ANY(ARRAY $1)",
                Expr::SubQuery(None, Box::new(SubQueryStatement::from(disputes.into_query()))),
            ),
            _ => order::Column::OrderId.in_subquery(disputes.into_query()),
        };
        found.into_iter().map(|disputes| among(disputes).into()).collect()
    }

    /// The orders of the first disputes among these, each once, in the order of the list.
    fn walk(&self, disputes: Select<dispute::Entity>) -> Select<dispute::Entity> {
        use dispute::Column;
        let (time, order) = (dispute_column(Column::OrderCreateTime), dispute_column(Column::OrderId));
        let key = || Expr::tuple([time.clone(), order.clone()]);
        // The first bound leaves out those without a time.
        let after = self.after.as_ref().map_or_else(
            || time.clone().gte(i64::MIN),
            |(after, id)| key().lt(Expr::tuple([Expr::value(after.micros()), Expr::value(id.as_str())])),
        );
        let walk = disputes
            .filter(after)
            .group_by(time.clone())
            .group_by(order.clone())
            .order_by(time, Direction::Desc)
            .order_by(order.clone(), Direction::Desc)
            .limit(self.limit);
        if self.statuses.is_empty() {
            return walk;
        }
        // Looked up for each: neither database would otherwise keep the order of the walk.
        let of_dispute = Expr::col((order::Entity, order::Column::OrderId)).eq(order);
        let status = order::Entity::find().select_only().column(order::Column::Status).filter(of_dispute);
        let status = Expr::SubQuery(None, Box::new(SubQueryStatement::from(status.into_query())));
        walk.filter(status.is_in(filled_up(self.statuses.iter().map(|status| status.code()))))
    }
}
