//! Plain reads, which lock nothing.

use sea_orm::sea_query::{Expr, ExprTrait as _, IntoCondition as _};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, Order as Direction, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, TransactionTrait as _,
};

use super::batch::filled_up;
use super::codes::Code as _;
use super::entity::{OPEN, PENDING, dispute, event, event_log, order};
use super::error::StorageError;
use super::transaction::snapshot;
use super::{Deadline, Log, LoggedEvent, Repository, rows};
use crate::domain::{
    Case, Dispute, DisputeId, DisputeKind, DisputeStatus, EventId, Order, OrderId, OrderStatus, PartyRole, Timestamp,
    UserId,
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
    /// After this one.
    pub before: Option<(Timestamp, OrderId)>,
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

/// Which disputes, newest first by (`create_time`, id).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct DisputeQuery {
    /// Only those of which this user is a party: what a party may see.
    pub visible_to: Option<UserId>,
    /// Only those of this order.
    pub order: Option<OrderId>,
    /// Only those of which this user is a party.
    pub party: Option<UserId>,
    /// The part that `party`, or else `visible_to`, has in them.
    pub side: Option<Side>,
    /// Of these kinds; all if empty.
    pub kinds: Vec<DisputeKind>,
    /// In one of these statuses; all if empty.
    pub statuses: Vec<DisputeStatus>,
    /// After this one.
    pub before: Option<(Timestamp, DisputeId)>,
    /// How many at the most.
    pub limit: u64,
}

/// The roles in which the person of a query can be a party, each with the condition that says so. Each role
/// has an index of its own, so each is read by a statement of its own: of an OR of both, neither database
/// makes a scan that stops at the limit. `None` is everybody.
fn by_role(
    visible_to: Option<&UserId>,
    party: Option<&UserId>,
    role: Option<PartyRole>,
    column: impl Fn(PartyRole, &UserId) -> Expr,
) -> Vec<(Option<PartyRole>, Condition)> {
    let Some(person) = party.or(visible_to) else {
        return vec![(None, Condition::all())];
    };
    let roles = PartyRole::ALL.into_iter().filter(|each| role.is_none_or(|role| role == *each));
    roles
        .map(|role| {
            let mut condition = Condition::all().add(column(role, person));
            if let Some(viewer) = visible_to.filter(|viewer| *viewer != person) {
                condition = condition.add(column(role.other(), viewer));
            }
            (Some(role), condition)
        })
        .collect()
}

impl Repository {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StorageError> {
        Ok(self.reader.ping().await?)
    }

    /// The database's clock.
    pub async fn database_time(&self) -> Result<Timestamp, StorageError> {
        database_time(&self.reader).await
    }

    /// The order with this id.
    pub async fn order(&self, id: &OrderId) -> Result<Option<Order>, StorageError> {
        order::Entity::find_by_id(id.as_str()).one(&self.reader).await?.map(rows::order_from).transpose()
    }

    /// The orders that a query finds.
    pub async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StorageError> {
        use order::Column;
        let column = |role, user: &UserId| match role {
            PartyRole::Buyer => Column::BuyerId.eq(user.as_str()),
            PartyRole::Seller => Column::SellerId.eq(user.as_str()),
        };
        let mut shared = Condition::all();
        if !query.statuses.is_empty() {
            shared = shared.add(Column::Status.is_in(filled_up(query.statuses.iter().map(|status| status.code()))));
        }
        if let Some((time, id)) = &query.before {
            let key = Expr::tuple([Expr::col(Column::CreateTime), Expr::col(Column::OrderId)]);
            shared = shared.add(key.lt(Expr::tuple([Expr::value(time.micros()), Expr::value(id.as_str())])));
        }
        let mut found = Vec::new();
        for (_, condition) in by_role(query.visible_to.as_ref(), query.party.as_ref(), query.role, column) {
            let select = order::Entity::find()
                .filter(condition.add(shared.clone()))
                .order_by(Column::CreateTime, Direction::Desc)
                .order_by(Column::OrderId, Direction::Desc)
                .limit(query.limit);
            found.extend(select.all(&self.reader).await?);
        }
        found.sort_unstable_by(|a, b| (b.create_time, &b.order_id).cmp(&(a.create_time, &a.order_id)));
        found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        found.into_iter().map(rows::order_from).collect()
    }

    /// The dispute with this id.
    pub async fn dispute(&self, id: DisputeId) -> Result<Option<Dispute>, StorageError> {
        dispute::Entity::find_by_id(id.0).one(&self.reader).await?.map(rows::dispute_from).transpose()
    }

    /// The disputes that a query finds.
    pub async fn disputes(&self, query: &DisputeQuery) -> Result<Vec<Dispute>, StorageError> {
        use dispute::Column;
        let column = |role, user: &UserId| match role {
            PartyRole::Buyer => Column::BuyerId.eq(user.as_str()),
            PartyRole::Seller => Column::SellerId.eq(user.as_str()),
        };
        let mut shared = Condition::all();
        if let Some(order) = &query.order {
            shared = shared.add(Column::OrderId.eq(order.as_str()));
        }
        if !query.kinds.is_empty() {
            shared = shared.add(Column::Kind.is_in(filled_up(query.kinds.iter().map(|kind| kind.code()))));
        }
        if !query.statuses.is_empty() {
            shared = shared.add(Column::Status.is_in(filled_up(query.statuses.iter().map(|status| status.code()))));
        }
        if let Some((time, id)) = query.before {
            let key = Expr::tuple([Expr::col(Column::CreateTime), Expr::col(Column::DisputeId)]);
            shared = shared.add(key.lt(Expr::tuple([Expr::value(time.micros()), Expr::value(id.0)])));
        }
        let mut found = Vec::new();
        for (role, mut condition) in by_role(query.visible_to.as_ref(), query.party.as_ref(), None, column) {
            match (query.side, role) {
                (Some(Side::Opener), Some(role)) => condition = condition.add(Column::Opener.eq(role.code())),
                (Some(Side::Responder), Some(role)) => {
                    condition = condition.add(Column::Opener.eq(role.other().code()));
                }
                (Some(_) | None, None) | (None, Some(_)) => {}
            }
            let select = dispute::Entity::find()
                .filter(condition.add(shared.clone()))
                .order_by(Column::CreateTime, Direction::Desc)
                .order_by(Column::DisputeId, Direction::Desc)
                .limit(query.limit);
            found.extend(select.all(&self.reader).await?);
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse((row.create_time, row.dispute_id)));
        found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        found.into_iter().map(rows::dispute_from).collect()
    }

    /// An order with its open disputes, as they were at one moment.
    pub async fn case(&self, id: &OrderId) -> Result<Option<Case>, StorageError> {
        let snapshot = self.reader.begin_with_options(snapshot(self.reader.get_database_backend())).await?;
        let order = order::Entity::find_by_id(id.as_str()).one(&snapshot).await?;
        let open = dispute::Entity::find()
            .filter(Expr::cust(OPEN).into_condition().add(dispute::Column::OrderId.eq(id.as_str())))
            .all(&snapshot)
            .await?;
        snapshot.commit().await?;
        let Some(order) = order.map(rows::order_from).transpose()? else { return Ok(None) };
        let disputes = open.into_iter().map(rows::dispute_from).collect::<Result<_, _>>()?;
        Ok(Some(Case { order, disputes }))
    }

    /// The deadlines that come first, or are overdue.
    pub async fn next_deadlines(&self, limit: u64) -> Result<Vec<Deadline>, StorageError> {
        use dispute::Column;
        let select = dispute::Entity::find()
            .select_only()
            .columns([Column::RespondBy, Column::DisputeId, Column::OrderId])
            .filter(Expr::cust(PENDING))
            .order_by(Column::RespondBy, Direction::Asc)
            .order_by(Column::DisputeId, Direction::Asc)
            .limit(limit);
        let rows: Vec<(i64, uuid::Uuid, String)> = select.into_tuple().all(&self.reader).await?;
        // One row that makes no sense must not hide the others. Of an instant that makes none the deadline has
        // passed: it is found out where the dispute cannot be expired, and set aside.
        let deadline = |(respond_by, dispute, order): (i64, uuid::Uuid, String)| {
            let Ok(order) = OrderId::parse(&order) else {
                tracing::error!(%dispute, "the order of a pending dispute has no valid id, the dispute cannot expire");
                return None;
            };
            let respond_by = Timestamp::from_micros(respond_by).unwrap_or(Timestamp::MIN);
            Some(Deadline { respond_by, dispute: DisputeId(dispute), order })
        };
        Ok(rows.into_iter().filter_map(deadline).collect())
    }

    /// The event log as a whole.
    pub async fn log(&self) -> Result<Log, StorageError> {
        let log = event_log::Entity::find_by_id(1_i16).one(&self.reader).await?;
        let missing = StorageError::Corrupt { table: "event_log", id: "1".to_owned(), what: "missing" };
        log.map(rows::log_from).ok_or(missing)
    }

    /// The events after number `seq`, in order.
    pub async fn events_after(&self, seq: i64, limit: u64) -> Result<Vec<LoggedEvent>, StorageError> {
        let select = event::Entity::find()
            .filter(event::Column::Seq.gt(seq))
            .order_by(event::Column::Seq, Direction::Asc)
            .limit(limit);
        select.all(&self.reader).await?.into_iter().map(rows::event_from).collect()
    }

    /// The id of the event with number `seq`, if it is kept.
    pub async fn event_id_at(&self, seq: i64) -> Result<Option<EventId>, StorageError> {
        let select = event::Entity::find().select_only().column(event::Column::EventId);
        let id = select.filter(event::Column::Seq.eq(seq)).into_tuple().one(&self.reader).await?;
        Ok(id.map(EventId))
    }
}

/// PostgreSQL's clock, now and not at the beginning of the transaction.
pub(super) async fn database_time(connection: &impl ConnectionTrait) -> Result<Timestamp, StorageError> {
    let ask = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), ask)).await?;
    let micros: Option<i64> = row.map(|row| row.try_get("", "micros")).transpose()?;
    let time = micros.and_then(Timestamp::from_micros);
    time.ok_or_else(|| StorageError::Failed("the database does not tell the time".to_owned()))
}
