//! The filters of the list of orders, alone and together.

use dispute_service::proto::v1;
use v1::{ListOrdersRequest as List, OrderStatus, PartyRole};

use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    orders_are_found_by_their_status,
    orders_with_an_open_dispute_are_found_by_whatever_else_is_asked_for,
    every_filter_of_orders_narrows_what_the_others_leave,
);

const STATUSES: [OrderStatus; 6] = [
    OrderStatus::RequirementsPending,
    OrderStatus::InProgress,
    OrderStatus::Delivered,
    OrderStatus::InRevision,
    OrderStatus::Completed,
    OrderStatus::Cancelled,
];

/// The buyer and the seller of an order.
const PARTIES: [(&str, &str); 4] = [("ann", "bob"), ("bob", "ann"), ("ann", "cid"), ("cid", "bob")];

/// An order as this file knows it.
struct Known {
    id: String,
    parties: (&'static str, &'static str),
    status: OrderStatus,
    has_open_dispute: bool,
}

/// Twelve orders, two of each instant, in which every status meets two pairs of parties; the newest first.
async fn orders(service: &Service) -> Vec<Known> {
    let (mut platform, mut support) = (service.platform(), service.support());
    let mut orders = Vec::new();
    for number in 0..12 {
        let id = format!("o{number:02}");
        let parties = PARTIES[number % 4];
        let status = STATUSES[number % 6];
        let first = v1::Order {
            buyer_id: parties.0.to_owned(),
            seller_id: parties.1.to_owned(),
            create_time: Some(at(i64::try_from(number / 2).unwrap())),
            ..order(&id)
        };
        platform.upsert(first.clone()).await;
        let is_asked = ![1, 2, 9, 10].contains(&number);
        if is_asked {
            let asked = service.user(parties.0).ask(update(&id)).await.unwrap();
            if status == OrderStatus::Completed {
                // What support has to decide stays open.
                support.escalate(escalate(&asked.dispute_id)).await.unwrap();
            }
        }
        platform.upsert(v1::Order { status: status.into(), source_version: 2, ..first }).await;
        let has_open_dispute = is_asked && status != OrderStatus::Cancelled;
        orders.push(Known { id, parties, status, has_open_dispute });
    }
    orders.reverse();
    orders
}

fn by(statuses: &[OrderStatus]) -> List {
    List { statuses: statuses.iter().map(|status| i32::from(*status)).collect(), page_size: 2, ..List::default() }
}

fn of(party: &str, role: PartyRole) -> List {
    List { party_id: party.to_owned(), role: role.into(), page_size: 2, ..List::default() }
}

async fn orders_are_found_by_their_status(service: Service) {
    use OrderStatus::{Cancelled, Completed, Delivered, InProgress, RequirementsPending};
    orders(&service).await;
    for mut caller in [service.support(), service.platform()] {
        assert_eq!(caller.order_ids(by(&[Completed])).await, "o10 o04");
        assert_eq!(caller.order_ids(by(&[Cancelled, Delivered])).await, "o11 o08 o05 o02");
        assert_eq!(caller.order_ids(by(&[Delivered, Cancelled, Delivered])).await, "o11 o08 o05 o02", "each once");
        let all = "o11 o10 o09 o08 o07 o06 o05 o04 o03 o02 o01 o00";
        assert_eq!(caller.order_ids(by(&STATUSES)).await, all);
        assert_eq!(caller.order_ids(by(&[])).await, all);
        let as_buyer = List { statuses: by(&[Delivered, Cancelled]).statuses, ..of("ann", PartyRole::Buyer) };
        assert_eq!(caller.order_ids(as_buyer).await, "o08 o02");
        let as_seller = List { statuses: by(&[Delivered, Cancelled]).statuses, ..of("ann", PartyRole::Seller) };
        assert_eq!(caller.order_ids(as_seller).await, "o05");
        let of_cid =
            List { statuses: by(&[Delivered, Cancelled, InProgress]).statuses, ..of("cid", PartyRole::Unspecified) };
        assert_eq!(caller.order_ids(of_cid).await, "o11 o07 o02");
    }
    let mut ann = service.user("ann");
    assert_eq!(ann.order_ids(by(&[Completed])).await, "o10 o04");
    assert_eq!(ann.order_ids(by(&[Cancelled, Delivered])).await, "o08 o05 o02");
    assert_eq!(ann.order_ids(by(&[InProgress])).await, "o01");
    let as_seller = List { role: PartyRole::Seller.into(), ..by(&[Cancelled, InProgress]) };
    assert_eq!(ann.order_ids(as_seller).await, "o05 o01");
    let with_cid = List { statuses: by(&[Delivered, Completed]).statuses, ..of("cid", PartyRole::Seller) };
    assert_eq!(ann.order_ids(with_cid).await, "o10 o02");
    assert_eq!(service.user("cid").order_ids(by(&[RequirementsPending])).await, "o06");
    assert_eq!(service.user("eve").order_ids(by(&[Completed])).await, "");
}

async fn orders_with_an_open_dispute_are_found_by_whatever_else_is_asked_for(service: Service) {
    use OrderStatus::{Cancelled, Completed, InProgress, InRevision};
    orders(&service).await;
    let open = |request: List| List { has_open_dispute: true, ..request };
    let statuses = [Completed, Cancelled, InProgress, InRevision];
    for mut caller in [service.support(), service.platform()] {
        assert_eq!(caller.order_ids(open(by(&[]))).await, "o08 o07 o06 o04 o03 o00");
        assert_eq!(caller.order_ids(open(by(&[Completed]))).await, "o04", "what is escalated stays open");
        assert_eq!(caller.order_ids(open(by(&[Cancelled]))).await, "", "nothing is open on it");
        assert_eq!(caller.order_ids(open(by(&statuses))).await, "o07 o04 o03");
        assert_eq!(caller.order_ids(open(of("ann", PartyRole::Unspecified))).await, "o08 o06 o04 o00");
        assert_eq!(caller.order_ids(open(of("cid", PartyRole::Buyer))).await, "o07 o03");
        assert_eq!(caller.order_ids(open(of("cid", PartyRole::Seller))).await, "o06");
        let all_together = List { statuses: by(&statuses).statuses, ..of("bob", PartyRole::Seller) };
        assert_eq!(caller.order_ids(open(all_together)).await, "o07 o04 o03");
    }
    let mut ann = service.user("ann");
    assert_eq!(ann.order_ids(open(by(&[]))).await, "o08 o06 o04 o00");
    assert_eq!(ann.order_ids(open(by(&statuses))).await, "o04");
    assert_eq!(ann.order_ids(open(of("cid", PartyRole::Unspecified))).await, "o06");
    assert_eq!(ann.order_ids(open(List { role: PartyRole::Seller.into(), ..by(&[]) })).await, "");
    assert_eq!(service.user("eve").order_ids(open(of("ann", PartyRole::Buyer))).await, "");
}

/// Whether somebody is a party of an order, in this role if one is asked for.
fn is_party(order: &Known, person: &str, role: PartyRole) -> bool {
    (order.parties.0 == person && role != PartyRole::Seller) || (order.parties.1 == person && role != PartyRole::Buyer)
}

async fn every_filter_of_orders_narrows_what_the_others_leave(service: Service) {
    use OrderStatus::{Cancelled, Completed, Delivered, InProgress, InRevision, RequirementsPending};
    let known = orders(&service).await;
    let statuses: [&[OrderStatus]; 5] = [
        &[],
        &[InProgress],
        &[Completed],
        &[Delivered, Completed, InRevision],
        &[Cancelled, RequirementsPending, InProgress, Delivered],
    ];
    let user = |id: &'static str| (Some(id), service.user(id));
    let callers: [(Option<&str>, Party); 4] = [user("ann"), user("bob"), user("eve"), (None, service.support())];
    for (viewer, mut caller) in callers {
        for (party, role) in ["", "ann", "cid", "eve"]
            .into_iter()
            .flat_map(|party| [PartyRole::Unspecified, PartyRole::Buyer, PartyRole::Seller].map(|role| (party, role)))
        {
            // Support has no role of its own.
            let Some(person) = Some(party).filter(|party| !party.is_empty()).or(viewer) else { continue };
            for (statuses, has_open_dispute) in
                statuses.iter().flat_map(|statuses| [(statuses, false), (statuses, true)])
            {
                let is_found = |order: &&Known| {
                    viewer.is_none_or(|viewer| is_party(order, viewer, PartyRole::Unspecified))
                        && is_party(order, person, role)
                        && (statuses.is_empty() || statuses.contains(&order.status))
                        && (order.has_open_dispute || !has_open_dispute)
                };
                let expected: Vec<_> = known.iter().filter(is_found).map(|order| order.id.as_str()).collect();
                let request = List { statuses: by(statuses).statuses, has_open_dispute, ..of(party, role) };
                assert_eq!(caller.order_ids(request.clone()).await, expected.join(" "), "{viewer:?} {request:?}");
            }
        }
    }
}
