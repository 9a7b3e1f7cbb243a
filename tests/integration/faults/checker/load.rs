//! The load: clients that send random commands to random replicas, and again until the answer is definite.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::proto::v1;
use fastrand::Rng;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::history::{Answer, Command, MARK};
use super::{Moment, moment, now, pause};
use crate::support::callers::Party;
use crate::support::messages::*;

/// How many clients there are, and how long each of them rests between two commands.
const CLIENTS: usize = 32;
const REST: std::ops::Range<u64> = 60..300;
/// A text of which some fill a page of a snapshot.
const LONG: &str = "How is it going, please? ";
/// How many buyers there are, and how many sellers.
pub const PARTIES: usize = 6;
/// Which of the latest orders and disputes clients think of.
const ORDERS: usize = 120;
const DISPUTES: usize = 60;
/// How many of those that are left alone something may happen to after all.
const LEFT_ALONE: usize = 400;
/// An attempt that is not answered within this is made again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The clients' world.
pub struct Load {
    replicas: Vec<Channel>,
    pool: Mutex<Pool>,
    commands: Mutex<Vec<Command>>,
    orders: Mutex<HashMap<String, (Moment, Moment)>>,
    /// Which replica acknowledged a command, when that attempt was sent, and when the answer came: the machine's time, in
    /// microseconds.
    acknowledged: Mutex<Vec<(usize, i64, i64)>>,
    /// What should not have been answered at all.
    pub complaints: Mutex<Vec<String>>,
    is_over: AtomicBool,
    numbers: AtomicUsize,
}

#[derive(Clone)]
struct Order {
    id: String,
    buyer: String,
    seller: String,
}

/// A dispute that was opened, whether by the buyer, and whether the buyer has to answer.
#[derive(Clone)]
struct Dispute {
    id: String,
    order: Order,
    kind: v1::DisputeKind,
    by_buyer: bool,
    awaits_buyer: bool,
}

#[derive(Default)]
struct Pool {
    orders: VecDeque<Order>,
    disputes: VecDeque<Dispute>,
    left_alone: VecDeque<Dispute>,
    /// Commands without a message that were sent. Nobody sends another like it: only by what it does is its event known.
    sent: HashSet<String>,
}

/// What a client is about to do.
enum Errand {
    Update(Order),
    Cancel(Order, bool),
    Offer(Order, i64),
    Reply(Dispute),
    Accept(Dispute),
    Decline(Dispute),
    Counter(Dispute, i64),
    Withdraw(Dispute),
}

impl Pool {
    fn add(&mut self, orders: Vec<v1::Order>) {
        let orders = orders.into_iter().map(|v1::Order { order_id, buyer_id, seller_id, .. }| Order {
            id: order_id,
            buyer: buyer_id,
            seller: seller_id,
        });
        self.orders.extend(orders);
        while self.orders.len() > ORDERS {
            self.orders.pop_front();
        }
    }

    /// Something is not there any more, or not to be thought of.
    fn forget(&mut self, subject: &str) {
        self.orders.retain(|order| order.id != subject);
        for disputes in [&mut self.disputes, &mut self.left_alone] {
            disputes.retain(|dispute| dispute.id != subject);
        }
    }

    fn unique_errand(&mut self, rng: &mut Rng) -> Option<Errand> {
        let errand = self.errand(rng)?;
        (errand.has_message() || self.sent.insert(errand.what())).then_some(errand)
    }

    /// Something that makes sense more often than not.
    fn errand(&self, rng: &mut Rng) -> Option<Errand> {
        let is_new = self.disputes.is_empty() || rng.u8(..100) < 45;
        if is_new {
            let order = self.orders.get(rng.usize(..self.orders.len().max(1)))?.clone();
            return Some(match rng.u8(..10) {
                0..5 => Errand::Update(order),
                5..8 => Errand::Offer(order, rng.i64(1..7_000)),
                _ => Errand::Cancel(order, rng.bool()),
            });
        }
        let is_old = !self.left_alone.is_empty() && rng.u8(..5) == 0;
        let disputes = if is_old { &self.left_alone } else { &self.disputes };
        let dispute = disputes.get(rng.usize(..disputes.len()))?.clone();
        let is_update = dispute.kind == v1::DisputeKind::OrderUpdate;
        let is_refund = dispute.kind == v1::DisputeKind::PartialRefund;
        Some(match rng.u8(..20) {
            0..4 => Errand::Withdraw(dispute),
            4..19 if is_update => Errand::Reply(dispute),
            4..12 if is_refund => Errand::Counter(dispute, rng.i64(1..7_000)),
            4..12 => Errand::Accept(dispute),
            12..16 if is_refund => Errand::Accept(dispute),
            _ => Errand::Decline(dispute),
        })
    }
}

impl Errand {
    fn name(&self) -> &'static str {
        match self {
            Self::Update(_) => "RequestOrderUpdate",
            Self::Cancel(..) => "RequestCancellation",
            Self::Offer(..) => "OfferPartialRefund",
            Self::Reply(_) => "AnswerOrderUpdate",
            Self::Accept(_) => "AcceptDispute",
            Self::Decline(_) => "DeclineDispute",
            Self::Counter(..) => "CounterOffer",
            Self::Withdraw(_) => "WithdrawDispute",
        }
    }

    fn has_message(&self) -> bool {
        match self {
            Self::Update(_)
            | Self::Cancel(..)
            | Self::Offer(..)
            | Self::Reply(_)
            | Self::Decline(_)
            | Self::Counter(..) => true,
            Self::Accept(_) | Self::Withdraw(_) => false,
        }
    }

    /// What it does.
    fn what(&self) -> String {
        format!("{} of {} by {}", self.name(), self.subject(), self.caller())
    }

    /// What it is about.
    fn subject(&self) -> &str {
        match self {
            Self::Update(order) | Self::Cancel(order, _) | Self::Offer(order, _) => &order.id,
            Self::Reply(dispute)
            | Self::Accept(dispute)
            | Self::Decline(dispute)
            | Self::Counter(dispute, _)
            | Self::Withdraw(dispute) => &dispute.id,
        }
    }

    /// Who may do it.
    fn caller(&self) -> &str {
        let (order, is_buyer) = match self {
            Self::Update(order) => (order, true),
            Self::Cancel(order, by_buyer) => (order, *by_buyer),
            Self::Offer(order, _) => (order, false),
            Self::Withdraw(dispute) => (&dispute.order, dispute.by_buyer),
            Self::Reply(dispute) | Self::Accept(dispute) | Self::Decline(dispute) | Self::Counter(dispute, _) => {
                (&dispute.order, dispute.awaits_buyer)
            }
        };
        if is_buyer { &order.buyer } else { &order.seller }
    }

    /// Sends it once.
    async fn send(&self, channel: Channel, id: &str, mark: &str) -> Result<Option<v1::Dispute>, Status> {
        let mut service = Party::new(channel, self.caller(), None).disputes;
        let request_id = id.to_owned();
        let message = format!("{mark} ");
        // Each RPC has its own types.
        macro_rules! call {
            ($rpc:ident, $request:ident, $message:expr) => {{
                let request = v1::$request { request_id, ..$message };
                service.$rpc(request).await?.into_inner().dispute
            }};
        }
        Ok(match self {
            Self::Update(order) => {
                let message = message + &LONG.repeat(40);
                let update = v1::RequestOrderUpdateRequest { message, ..update(&order.id) };
                call!(request_order_update, RequestOrderUpdateRequest, update)
            }
            Self::Cancel(order, _) => {
                let cancellation = v1::RequestCancellationRequest { message, ..cancellation(&order.id) };
                call!(request_cancellation, RequestCancellationRequest, cancellation)
            }
            Self::Offer(order, cents) => {
                let offer = v1::OfferPartialRefundRequest { message, ..offer(&order.id, *cents) };
                call!(offer_partial_refund, OfferPartialRefundRequest, offer)
            }
            Self::Reply(dispute) => {
                let answer = v1::AnswerOrderUpdateRequest { message, ..answer(&dispute.id) };
                call!(answer_order_update, AnswerOrderUpdateRequest, answer)
            }
            Self::Accept(dispute) => call!(accept_dispute, AcceptDisputeRequest, accept(&dispute.id)),
            Self::Decline(dispute) => {
                let decline = v1::DeclineDisputeRequest { message, ..decline(&dispute.id) };
                call!(decline_dispute, DeclineDisputeRequest, decline)
            }
            Self::Counter(dispute, cents) => {
                let counter = v1::CounterOfferRequest { message, ..counter(&dispute.id, *cents) };
                call!(counter_offer, CounterOfferRequest, counter)
            }
            Self::Withdraw(dispute) => call!(withdraw_dispute, WithdrawDisputeRequest, withdraw(&dispute.id)),
        })
    }
}

/// The reason of a refusal, after which a client need not ask again.
fn refusal(status: &Status) -> Option<String> {
    let is_definite = matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::NotFound | Code::FailedPrecondition | Code::Aborted
    );
    status.get_error_details().error_info().filter(|_| is_definite).map(|info| info.reason.clone())
}

impl Load {
    /// Clients of the replicas at these addresses.
    pub fn new(addresses: &[String]) -> Arc<Self> {
        let connect = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy()
        };
        Arc::new(Self {
            replicas: addresses.iter().map(connect).collect(),
            pool: Mutex::default(),
            commands: Mutex::default(),
            orders: Mutex::default(),
            acknowledged: Mutex::default(),
            complaints: Mutex::default(),
            is_over: AtomicBool::new(false),
            numbers: AtomicUsize::new(1),
        })
    }

    /// Sends commands, and feeds orders in, until it is over and the last answer has come.
    pub fn start(self: &Arc<Self>, rng: &mut Rng) -> tokio::task::JoinSet<()> {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(self.clone().feed_orders(rng.fork()));
        for _ in 0..CLIENTS {
            tasks.spawn(self.clone().client(rng.fork()));
        }
        tasks
    }

    /// No client begins anything new.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// What was sent and answered.
    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap().clone()
    }

    /// When each order was first sent, and when that was acknowledged.
    pub fn orders(&self) -> HashMap<String, (Moment, Moment)> {
        self.orders.lock().unwrap().clone()
    }

    /// When a replica first acknowledged something that was sent to it after this: the machine's time, in microseconds.
    pub fn first_acknowledged(&self, replica: usize, after: i64) -> Option<i64> {
        let all = self.acknowledged.lock().unwrap();
        all.iter().find(|(by, sent, _)| *by == replica && *sent > after).map(|(_, _, answered)| *answered)
    }

    /// A caller at a random replica.
    pub fn somewhere(&self, rng: &mut Rng, user: &str, scope: Option<&str>) -> Party {
        Party::new(self.replicas[rng.usize(..self.replicas.len())].clone(), user, scope)
    }

    async fn client(self: Arc<Self>, mut rng: Rng) {
        while !self.is_over.load(Ordering::Relaxed) {
            pause(Duration::from_millis(rng.u64(REST))).await;
            let errand = self.pool.lock().unwrap().unique_errand(&mut rng);
            if let Some(errand) = errand {
                self.run(errand, &mut rng).await;
            }
        }
    }

    /// Sends a command to one replica after the other, until there is a definite answer.
    async fn run(&self, errand: Errand, rng: &mut Rng) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut command = Command {
            what: errand.what(),
            subject: errand.subject().to_owned(),
            mark: if errand.has_message() { format!("{MARK}{number}") } else { errand.what() },
            request_id: uuid::Uuid::from_u128(rng.u128(..)).to_string(),
            sent: moment(),
            answered: 0,
            attempts: 0,
            answer: Answer::Unknown,
        };
        while command.answer == Answer::Unknown {
            command.attempts += 1;
            let (replica, sent) = (rng.usize(..self.replicas.len()), now());
            let answer = errand.send(self.replicas[replica].clone(), &command.request_id, &command.mark);
            command.answer = match tokio::time::timeout(TIMEOUT, answer).await {
                Ok(Ok(Some(dispute))) => {
                    self.acknowledged.lock().unwrap().push((replica, sent, now()));
                    self.note(&errand, &dispute, rng);
                    Answer::Acknowledged { dispute: dispute.dispute_id, revision: dispute.revision }
                }
                Ok(Ok(None)) => Answer::Refused("an answer without a dispute".to_owned()),
                Ok(Err(status)) => match refusal(&status) {
                    Some(reason) => Answer::Refused(reason),
                    None => self.not_now(&command.what, &status, rng).await,
                },
                Err(_) => Answer::Unknown,
            };
        }
        command.answered = moment();
        if matches!(&command.answer, Answer::Refused(reason) if reason.ends_with("_NOT_FOUND")) {
            self.pool.lock().unwrap().forget(command.subject.as_str());
        }
        self.commands.lock().unwrap().push(command);
    }

    /// The service is away, or somebody in between says so. It never says that it is broken.
    async fn not_now(&self, what: &str, status: &Status, rng: &mut Rng) -> Answer {
        if status.get_error_details().error_info().is_some_and(|info| info.reason == "INTERNAL") {
            self.complaints.lock().unwrap().push(format!("{what}: {status:?}"));
        }
        pause(Duration::from_millis(rng.u64(50..250))).await;
        Answer::Unknown
    }

    /// What was opened can be answered, but half of the updates, most of which stay open for as long as they can; what was
    /// answered will mostly be left alone.
    fn note(&self, errand: &Errand, dispute: &v1::Dispute, rng: &mut Rng) {
        let tries_again = rng.u8(..5) == 0;
        let stays_open = matches!(errand, Errand::Update(_)) && rng.bool();
        let mut pool = self.pool.lock().unwrap();
        match errand {
            Errand::Update(order) | Errand::Cancel(order, _) | Errand::Offer(order, _) => {
                let by_buyer = dispute.opened_by() == v1::PartyRole::Buyer;
                let (id, kind) = (dispute.dispute_id.clone(), dispute.kind());
                let awaits_buyer = dispute.awaiting() == v1::PartyRole::Buyer;
                let Pool { disputes, left_alone, .. } = &mut *pool;
                let (disputes, most) = if stays_open { (left_alone, LEFT_ALONE) } else { (disputes, DISPUTES) };
                disputes.push_back(Dispute { id, order: order.clone(), kind, by_buyer, awaits_buyer });
                if disputes.len() > most {
                    disputes.pop_front();
                }
            }
            // Now it is the other's turn.
            Errand::Counter(..) => {
                let Pool { disputes, left_alone, .. } = &mut *pool;
                let known = disputes.iter_mut().chain(left_alone).filter(|known| known.id == dispute.dispute_id);
                known.for_each(|known| known.awaits_buyer = dispute.awaiting() == v1::PartyRole::Buyer);
            }
            Errand::Reply(_) | Errand::Accept(_) | Errand::Decline(_) | Errand::Withdraw(_) => {
                if !tries_again {
                    pool.forget(&dispute.dispute_id);
                }
            }
        }
    }

    /// New orders all the time, and now and then news of one: it was delivered, or it is over.
    async fn feed_orders(self: Arc<Self>, mut rng: Rng) {
        let mut known: BTreeMap<String, v1::Order> = BTreeMap::new();
        let mut number = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let mut orders: Vec<_> = (number..number + 8)
                .map(|number| v1::Order {
                    buyer_id: format!("buyer-{}", rng.usize(..PARTIES)),
                    seller_id: format!("seller-{}", rng.usize(..PARTIES)),
                    ..order(&format!("o{number}"))
                })
                .collect();
            let added = orders.clone();
            number += orders.len();
            let old = known.keys().nth(rng.usize(..known.len().max(1))).cloned();
            if let Some(old) = old.and_then(|id| known.remove(&id)) {
                use v1::OrderStatus::{Cancelled, Completed, Delivered};
                let status = rng.choice([Delivered, Completed, Cancelled]).unwrap_or(Delivered);
                orders.push(v1::Order { status: status.into(), source_version: 2, ..old });
            }
            let sent = moment();
            self.upsert(orders, &mut rng).await;
            let answered = moment();
            let first = added.iter().map(|order| (order.order_id.clone(), (sent, answered)));
            self.orders.lock().unwrap().extend(first);
            known.extend(added.iter().map(|order| (order.order_id.clone(), order.clone())));
            self.pool.lock().unwrap().add(added);
            pause(Duration::from_millis(300)).await;
        }
    }

    async fn upsert(&self, orders: Vec<v1::Order>, rng: &mut Rng) {
        loop {
            let mut platform = self.somewhere(rng, "shop", Some("platform"));
            let request = v1::BatchUpsertOrdersRequest { orders: orders.clone() };
            match tokio::time::timeout(TIMEOUT, platform.orders.batch_upsert_orders(request)).await {
                Ok(Ok(_)) => return,
                Ok(Err(status)) => {
                    assert_eq!(refusal(&status), None, "{status:?}");
                    self.not_now("BatchUpsertOrders", &status, rng).await;
                }
                Err(_) => {}
            }
        }
    }
}
