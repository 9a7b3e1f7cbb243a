//! Lists: which index each filter is read by.
//!
//! A query is cut into scans, each of which one index reads in order and stops at the limit; what they find is
//! merged. Of an OR, or of several values of an indexed column, neither database makes such a scan by itself.
//! Disputes are found by their keys first, and only those of the page are read: otherwise PostgreSQL would rather
//! join all orders, and what has to be sorted would be sorted with all its texts.

use sea_orm::sea_query::{Expr, ExprTrait as _, SubQueryStatement};
use sea_orm::{
    ColumnTrait as _, Condition, DbBackend, EntityTrait as _, Order as Direction, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _, Select,
};

use super::batch::filled_up;
use super::codes::Code as _;
use super::entity::{OPEN, PENDING, dispute, order};
use super::found::NewerNumbers;
use crate::domain::{
    DisputeId, DisputeKind, DisputeStatus, OrderId, OrderStatus, PartyRole, SettlementStatus, Timestamp, UserId,
};

/// Which orders, newest first by (`create_time`, id).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct OrderQuery {
    /// Only those of which this user is a party: what a party may see.
    pub visible_to: Option<UserId>,
    /// Only those of which this user is a party.
    pub party: Option<UserId>,
    /// The role that `party`, or else `visible_to`, has in them.
    pub role: Option<PartyRole>,
    /// In one of these statuses; all if empty.
    pub statuses: Vec<OrderStatus>,
    /// Only those with an open dispute.
    pub has_open_dispute: bool,
    /// After this one.
    pub after: Option<(Timestamp, OrderId)>,
    /// How many at the most.
    pub limit: u64,
}

/// Which part in a dispute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Raised it.
    Opener,
    /// Must answer it.
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

/// Which disputes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DisputeQuery {
    /// Only those of which this user is a party: what a party may see.
    pub visible_to: Option<UserId>,
    /// Only these; all if empty.
    pub disputes: Vec<DisputeId>,
    /// Only those of these orders; all if empty.
    pub orders: Vec<OrderId>,
    /// Only those of which this user is a party.
    pub party: Option<UserId>,
    /// The part that `party`, or else `visible_to`, has in them.
    pub side: Option<Side>,
    /// Of these kinds; all if empty.
    pub kinds: Vec<DisputeKind>,
    /// In one of these statuses; all if empty.
    pub statuses: Vec<DisputeStatus>,
    /// Only open ones, in whatever status a newer release has them.
    pub open: bool,
    /// With a settlement in one of these statuses; all if empty.
    pub settlement_statuses: Vec<SettlementStatus>,
    /// With an event after this instant.
    pub updated_after: Option<Timestamp>,
    /// In which order.
    pub sort: Sort,
    /// After the one with this instant, of the kind that is sorted by, and id.
    pub after: Option<(Timestamp, DisputeId)>,
    /// Up to this one, in the same terms.
    pub up_to: Option<(Timestamp, DisputeId)>,
    /// How many at the most.
    pub limit: u64,
}

/// A part of a query that one index reads.
pub(super) struct Scan {
    condition: Condition,
    /// What is sorted by.
    time: Expr,
    /// Whether everything that it finds comes after what the other scans find.
    pub(super) comes_last: bool,
}

/// The roles in which the person of a query can be a party, each with the condition that says so: each has an
/// index of its own. `None` is everybody. Who looks for what it has with somebody else is read by its own index: it
/// costs no more than what it has, whoever it names.
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

/// The same, so that SQLite takes no index for its sake: to be told the index of a scan, and not to guess it.
/// PostgreSQL knows by its statistics which is better.
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
            // The named are read by their keys; that the person is a party of them is only looked at.
            let people = self.people(backend, |role| unindexed(&dispute_party(role), backend));
            let parties = people.map(|roles| roles.into_iter().fold(Condition::any(), |any, (_, role)| any.add(role)));
            let condition = Condition::all().add_option(parties);
            if !self.wants_open_only() {
                return vec![scan(condition)];
            }
            // An order has few open ones, and perhaps much behind it: these are sorted, rather than found among all.
            let condition = condition.add(Expr::cust(OPEN));
            return vec![Scan { condition, time: unindexed(&time, backend), comes_last: false }];
        }
        if let Some(roles) = self.people(backend, dispute_party) {
            if !self.wants_open_only() {
                return roles.into_iter().map(|(_, role)| scan(role)).collect();
            }
            // A party has few open ones, and much behind it: these are sorted, rather than found among all.
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
        // First what leaves few: neither database knows that there are few of these.
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
            // What was created since was also updated since. The rest is found by its last event.
            let since = updated_after.micros();
            let created_since = |kind| scan(Condition::all().add(kind).add(Column::CreateTime.gt(since)));
            let created_before = unindexed(&dispute_column(Column::CreateTime), backend);
            let before = Scan {
                condition: created_before.clone().lte(since).into(),
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

    /// Of each kind that is looked for, the condition that says so.
    fn each_kind(&self, newer: &NewerNumbers) -> impl Iterator<Item = Expr> {
        let kinds = if self.kinds.is_empty() { DisputeKind::ALL.to_vec() } else { self.kinds.clone() };
        let kinds = kinds.into_iter().map(|kind| kind.code()).chain(newer.kinds.iter().copied());
        kinds.map(|kind| dispute::Column::Kind.eq(kind)).collect::<Vec<_>>().into_iter()
    }

    /// Whether it is not read by the disputes, the orders or the people that it names.
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

    /// Whether nothing can be found: what is sorted by its urgency is pending.
    fn wants_nothing(&self) -> bool {
        let others = !self.statuses.is_empty() && !self.statuses.contains(&DisputeStatus::Pending);
        self.sort == Sort::MostUrgentFirst && (others || !self.settlement_statuses.is_empty())
    }

    fn wants_open_only(&self) -> bool {
        let only_open = !self.statuses.is_empty() && self.statuses.iter().all(|status| status.is_open());
        self.open || only_open || self.sort == Sort::MostUrgentFirst
    }

    /// The column that is sorted by, before the id.
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

    /// The statement that finds the keys of a scan: what is sorted by, and the id.
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

    /// What every scan looks for, beside what its index is read by.
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
    /// A statement for each role that the person can have, or for each status.
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

    /// The conditions of each role that the person can have, on these columns; `None` is everybody.
    fn parties(&self, backend: DbBackend, column: impl Fn(PartyRole) -> Expr) -> Option<Vec<Condition>> {
        let roles = by_role(self.visible_to.as_ref(), self.party.as_ref(), self.role, backend, column)?;
        Some(roles.into_iter().map(|(_, party)| party).collect())
    }

    /// Of each status that is looked for, the condition that says so.
    fn each_status(&self, newer: &NewerNumbers) -> Vec<Condition> {
        let statuses = if self.statuses.is_empty() { &OrderStatus::ALL } else { self.statuses.as_slice() };
        let statuses = statuses.iter().map(|status| status.code()).chain(newer.statuses.iter().copied());
        statuses.map(|status| order::Column::Status.eq(status).into()).collect()
    }

    /// Whether it is read by each status, all of them being looked for.
    pub(super) fn is_sum_of_statuses(&self) -> bool {
        !self.has_open_dispute && self.statuses.is_empty() && self.visible_to.is_none() && self.party.is_none()
    }

    /// Few orders have an open dispute. They are found by it, whose parties are theirs, and sorted, rather than found
    /// among all.
    fn with_open_disputes(&self, backend: DbBackend) -> Vec<Condition> {
        let with_one = |parties: Condition| {
            let open = dispute::Entity::find().select_only().column(dispute::Column::OrderId);
            let open = open.filter(parties.add(Expr::cust(OPEN))).into_query();
            match backend {
                // Of an IN it reads every order rather than these.
                DbBackend::Postgres => Expr::cust_with_expr(
                    "orders.order_id = ANY(ARRAY $1)",
                    Expr::SubQuery(None, Box::new(SubQueryStatement::from(open))),
                ),
                _ => order::Column::OrderId.in_subquery(open),
            }
            .into()
        };
        let parties = self.parties(backend, dispute_party).unwrap_or_else(|| vec![Condition::all()]);
        parties.into_iter().map(with_one).collect()
    }
}
