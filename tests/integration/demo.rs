//! `dispute-service demo`: what a visitor finds there, and what is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::future::pending;
use std::path::Path;

use dispute_service::clock::Clock;
use dispute_service::config::CommandLine;
use dispute_service::demo;
use dispute_service::proto::testing::GetClockRequest;
use dispute_service::proto::v1;
use dispute_service::proto::v1::{DisputeAction, DisputeKind, DisputeStatus, EventType, OrderStatus, PartyRole};
use dispute_service::server::{self, ServeError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::support::binary::{Binary, program};
use crate::support::callers::Party;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// A demo in this process.
struct Demo {
    channel: Channel,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Demo {
    async fn start() -> Self {
        let arguments = ["dispute-service", "demo", "--listen", "127.0.0.1:0"].map(OsString::from);
        let config = CommandLine::read(arguments).unwrap().config;
        let listener = TcpListener::bind(config.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(async move { demo::run(&config, listener, async { drop(stopped.await) }).await });
        // It is not served before everything is there.
        let connected = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await;
        match connected {
            Ok(channel) => Self { channel, stop, ended },
            Err(error) => panic!("{error}: {:?}", ended.await),
        }
    }

    fn party(&self, id: &str) -> Party {
        let scope = match id {
            "sam" => Some("support"),
            "shop" => Some("platform"),
            _ => None,
        };
        Party::new(self.channel.clone(), id, scope)
    }

    async fn orders(&self) -> Vec<v1::Order> {
        let request = v1::ListOrdersRequest { page_size: 200, ..Default::default() };
        let page = self.party("sam").orders.list_orders(request).await.unwrap().into_inner();
        assert_eq!(page.next_page_token, "");
        page.orders
    }

    async fn disputes(&self) -> Vec<v1::Dispute> {
        self.party("sam").list_all(v1::ListDisputesRequest::default()).await
    }

    /// The time that it shows, in seconds.
    async fn time(&self) -> i64 {
        let time = self.party("shop").clock.get_clock(GetClockRequest {}).await.unwrap().into_inner().time.unwrap();
        assert_eq!(time.nanos, 0);
        time.seconds
    }

    async fn end(self) {
        drop(self.channel);
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

/// The names of the values of an enumeration, but for the one that says nothing.
fn names<T: TryFrom<i32>>(name: impl Fn(&T) -> &'static str) -> BTreeSet<&'static str> {
    (1..100).map_while(|number| T::try_from(number).ok()).map(|value| name(&value)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_has_orders_and_disputes_of_every_kind_and_in_every_status() {
    let demo = Demo::start().await;
    let (orders, disputes) = (demo.orders().await, demo.disputes().await);
    assert!(orders.len() >= 16 && disputes.len() >= 14, "{} orders, {} disputes", orders.len(), disputes.len());
    let statuses: BTreeSet<_> = orders.iter().map(|order| order.status().as_str_name()).collect();
    assert_eq!(statuses, names(OrderStatus::as_str_name));
    let currencies: BTreeSet<_> =
        orders.iter().map(|order| order.price.as_ref().unwrap().currency_code.as_str()).collect();
    assert_eq!(currencies, ["EUR", "JPY", "USD"].into());
    let statuses: BTreeSet<_> = disputes.iter().map(|dispute| dispute.status().as_str_name()).collect();
    assert_eq!(statuses, names(DisputeStatus::as_str_name));
    let settlements = disputes.iter().filter_map(|dispute| dispute.settlement.as_ref());
    let settlements: BTreeSet<_> = settlements.map(|settlement| settlement.status().as_str_name()).collect();
    assert_eq!(settlements, names(v1::SettlementStatus::as_str_name));
    let openers: BTreeSet<_> = disputes
        .iter()
        .map(|dispute| (dispute.kind().as_str_name(), dispute.opened_by() == PartyRole::Buyer))
        .collect();
    let openings = [
        (DisputeKind::PartialRefund, false),
        (DisputeKind::PartialRefund, true),
        (DisputeKind::Cancellation, false),
        (DisputeKind::Cancellation, true),
        (DisputeKind::OrderUpdate, true),
        (DisputeKind::DeliveryExtension, false),
    ];
    assert_eq!(openers, openings.map(|(kind, by_buyer)| (kind.as_str_name(), by_buyer)).into());
    let (buyers, sellers): (BTreeSet<_>, BTreeSet<_>) =
        orders.iter().map(|order| (order.buyer_id.as_str(), order.seller_id.as_str())).unzip();
    assert_eq!(buyers, ["ana", "ben", "chloe"].into());
    assert_eq!(sellers, ["kemi", "lumen", "studio-nord"].into());
    demo.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_has_something_to_do_for_everybody() {
    let demo = Demo::start().await;
    let (now, disputes) = (demo.time().await, demo.disputes().await);
    let pending: Vec<_> = disputes.iter().filter(|dispute| dispute.status() == DisputeStatus::Pending).collect();
    let left = |dispute: &v1::Dispute| dispute.respond_by.unwrap().seconds - now;
    let lefts: BTreeSet<_> = pending.iter().map(|dispute| left(dispute)).collect();
    assert!(pending.len() >= 4 && lefts.len() == pending.len() && lefts.iter().all(|left| *left > 0), "{lefts:?}");
    // A deal in progress, and one that shall not count.
    let bargained = pending.iter().find(|dispute| dispute.offers.len() == 3).unwrap();
    let asked = pending.iter().find(|dispute| dispute.no_fault).unwrap();
    let can = async |party: &str, dispute: &v1::Dispute, action| {
        demo.party(party).dispute(&dispute.dispute_id).await.allowed_actions().any(|allowed| allowed == action)
    };
    let awaited = |dispute: &v1::Dispute| match dispute.awaiting() {
        PartyRole::Buyer => dispute.buyer_id.clone(),
        _ => dispute.seller_id.clone(),
    };
    assert!(can(&awaited(bargained), bargained, DisputeAction::Counter).await);
    assert!(can(&awaited(asked), asked, DisputeAction::Accept).await);
    // One whose last reminder came.
    let urgent = pending.iter().find(|dispute| left(dispute) < 2 * HOUR).unwrap();
    let filter = v1::DisputeEventFilter { dispute_ids: vec![urgent.dispute_id.clone()], ..Default::default() };
    let (events, _) = demo.party("sam").events_of(Some(filter), 100).await;
    let reminders = events.iter().filter(|event| event.r#type() == EventType::DeadlineApproaching).count();
    assert_eq!(reminders, 2);
    // What support has to decide, with what both say.
    let mut queue = disputes.iter().filter(|dispute| dispute.status() == DisputeStatus::Escalated).peekable();
    assert!(queue.peek().is_some());
    for escalated in queue {
        let said = [&escalated.message, &escalated.answer_message, &escalated.escalation_message];
        assert!(said.iter().all(|text| text.len() > 40), "{escalated:?}");
        assert!(can("sam", escalated, DisputeAction::Decide).await);
    }
    // Silence has cancelled, and it has done nothing.
    let expired = disputes.iter().filter(|dispute| dispute.status() == DisputeStatus::Expired);
    let effects: BTreeSet<_> =
        expired.map(|dispute| dispute.outcome.as_ref().is_some_and(|outcome| outcome.order_cancelled)).collect();
    assert_eq!(effects, [false, true].into());
    demo.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_of_a_demo_can_open_every_kind_with_every_seller() {
    let demo = Demo::start().await;
    let (orders, disputes) = (demo.orders().await, demo.disputes().await);
    let first = orders.iter().find(|order| order.order_id == "order-1001").unwrap();
    assert_eq!((first.buyer_id.as_str(), first.seller_id.as_str()), ("ana", "studio-nord"));
    let price = first.price.clone().unwrap();
    assert_eq!((price.units, price.nanos, price.currency_code.as_str()), (200, 0, "USD"));
    let is_free = |order: &&v1::Order| {
        order.status() == OrderStatus::InProgress && disputes.iter().all(|dispute| dispute.order_id != order.order_id)
    };
    let free: BTreeMap<_, _> = orders
        .iter()
        .filter(is_free)
        .map(|order| ((order.buyer_id.as_str(), order.seller_id.as_str()), order.order_id.as_str()))
        .collect();
    assert_eq!(free.len(), 9, "{free:?}");
    assert!(free.values().any(|order| *order == "order-1001"));
    for ((buyer, seller), order) in free {
        for (party, kinds) in [(buyer, 3), (seller, 3)] {
            let shown = demo.party(party).options(order).await;
            assert_eq!(shown.options.len(), kinds, "{party} {order}");
            assert!(shown.options.iter().all(|option| option.available), "{party} {order}: {:?}", shown.options);
            assert_eq!(shown.support.unwrap().url, "https://help.shop.example/");
        }
    }
    demo.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_demo_stands_at_the_minute_of_its_start_and_goes_on_by_hand() {
    let now = || Clock::system().now().micros() / 1_000_000;
    let before = now();
    let demo = Demo::start().await;
    let (time, after) = (demo.time().await, now());
    assert_eq!(time % MINUTE, 0);
    assert!((before - before % MINUTE..=after).contains(&time), "{before} {time} {after}");
    let began = demo.orders().await.iter().filter_map(|order| order.create_time).map(|time| time.seconds).min();
    assert!(began.unwrap() < time - 24 * HOUR);
    let target = dispute_service::proto::testing::advance_clock_request::Target::By(prost_types::Duration {
        seconds: 48 * HOUR,
        nanos: 0,
    });
    let request = dispute_service::proto::testing::AdvanceClockRequest { target: Some(target) };
    demo.party("shop").clock.advance_clock(request).await.unwrap();
    assert_eq!(demo.time().await, time + 48 * HOUR);
    let left = demo.disputes().await.into_iter().filter(|dispute| dispute.status() == DisputeStatus::Pending).count();
    assert_eq!(left, 0, "every deadline has passed");
    demo.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_stopped_while_it_is_prepared_never_listens_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["dispute-service", "demo", "--listen", "127.0.0.1:0"].map(OsString::from);
    let config = CommandLine::read(arguments).unwrap().config;
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "").unwrap();
    let config = config.for_demo(&folder.path().join("disputes.db"), &policy, Clock::system().now());
    let (listener, clock) = (server::listen(&config).await.unwrap(), server::clock(&config));
    let (stop, stopped) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    let ended = server::run_prepared(&config, listener, clock, stopped, async |_| {
        stop.send(()).unwrap();
        pending().await
    });
    ended.await.unwrap();
}

fn entries(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_takes_its_demo_away_with_it_and_touches_nothing_of_a_real_service() {
    let (temporary, real) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = format!("sqlite://{}?mode=rwc", real.path().join("real.db").display());
    // The shell of somebody who runs a service of his own.
    let environment = [
        ("TMPDIR", temporary.path().to_str().unwrap()),
        ("DISPUTES_DATABASE_URL", &database),
        ("DISPUTES_AUTH", "jwt"),
        ("DISPUTES_JWT_ISSUER", "issuer"),
        ("DISPUTES_POLICY", "/nowhere/policy.toml"),
        ("DISPUTES_CLOCK", "none"),
        ("DISPUTES_TLS_CERT", "/nowhere/cert.pem"),
        ("RUST_LOG", "info"),
    ];
    for signal in ["TERM", "INT"] {
        let arguments = ["demo", "--listen", "127.0.0.1:0"].map(str::to_owned);
        let demo = Binary::launch_with(&program(), &arguments, &environment).unwrap();
        assert_eq!(entries(temporary.path()).len(), 1, "everything is in one folder");
        let channel = Endpoint::from_shared(format!("http://{}", demo.address)).unwrap().connect().await.unwrap();
        let disputes = Party::new(channel, "ana", None).list_all(v1::ListDisputesRequest::default()).await;
        assert!(!disputes.is_empty());
        let address = demo.address.clone();
        demo.signal(signal);
        let (is_well, log) = demo.ends(std::time::Duration::from_secs(10)).await.unwrap();
        assert!(is_well, "{log}");
        let (before, said) = log.split_once(&format!("listening on {address}\n")).unwrap();
        assert!(!before.contains("OrderService"), "the story is played quietly: {before}");
        let said = said.lines().filter(|line| !line.contains(" INFO ")).collect::<Vec<_>>().join("\n");
        assert!((3..12).contains(&said.lines().count()), "{said}");
        for part in ["x-user-id: ana", &format!("{address} disputes.v1.OrderService/ListOrders"), "AdvanceClock"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(entries(temporary.path()), Vec::<OsString>::new());
    }
    assert_eq!(entries(real.path()), Vec::<OsString>::new());
}

#[test]
fn the_program_refuses_flags_that_contradict_its_demo_and_says_why() {
    for (flags, why) in [
        (&["--database-url", "sqlite://mine.db"][..], "--database-url is not for a demo, which has a database"),
        (&["--auth", "jwt"], "--auth is not for a demo"),
        (&["--policy", "mine.toml"], "--policy is not for a demo"),
        (&["--clock-start", "2026-01-01T00:00:00Z"], "--clock-start is not for a demo"),
        (&["--listen", "0.0.0.0:0"], "must be a loopback address"),
    ] {
        let output = std::process::Command::new(program()).arg("demo").args(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
