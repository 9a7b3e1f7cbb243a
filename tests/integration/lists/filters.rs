//! The filters of the lists, and where a list goes on as a stream.

use std::time::Duration;

use dispute_service::proto::v1;

use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    disputes_are_found_by_their_settlement,
    disputes_are_found_by_their_last_event,
    pending_disputes_are_listed_by_their_deadline,
    open_disputes_of_a_party_are_listed_like_the_rest,
    orders_with_an_open_dispute_are_found,
    a_watch_from_a_lists_token_misses_nothing,
);

/// The orders of the disputes on every page, of two disputes each.
async fn orders(mut caller: Party, request: v1::ListDisputesRequest) -> String {
    let mut found = Vec::new();
    let mut request = v1::ListDisputesRequest { page_size: 2, ..request };
    loop {
        let page = caller.list(request.clone()).await;
        found.extend(page.disputes.into_iter().map(|dispute| dispute.order_id));
        if page.next_page_token.is_empty() {
            return found.join(" ");
        }
        request.page_token = page.next_page_token;
    }
}

/// Orders `o0` … `o6`, one second apart, each with an offer.
async fn offers(service: &Service) -> Vec<v1::Dispute> {
    let mut offers = Vec::new();
    for number in 0..7 {
        let id = format!("o{number}");
        offers.push(service.order_with_offer(&id, 100).await);
        service.clock.advance(Duration::from_secs(1));
    }
    offers
}

async fn disputes_are_found_by_their_settlement(service: Service) {
    let offers = offers(&service).await;
    let mut platform = service.platform();
    for (number, offer) in offers.iter().enumerate().skip(1) {
        let id = offer.dispute_id.as_str();
        service.user("ann").accept(accept(id)).await.unwrap();
        match number {
            1 | 2 => drop(platform.report(settled(id, "pay")).await.unwrap()),
            3 | 4 => drop(platform.report(failed(id, "no")).await.unwrap()),
            _ => {}
        }
    }
    use v1::SettlementStatus::{Due, Failed, Returned, Settled, Voided};
    let by = |statuses: &[v1::SettlementStatus]| v1::ListDisputesRequest {
        settlement_statuses: statuses.iter().map(|status| i32::from(*status)).collect(),
        ..Default::default()
    };
    for caller in service.everybody() {
        assert_eq!(orders(caller.clone(), by(&[])).await, "o6 o5 o4 o3 o2 o1 o0");
        assert_eq!(orders(caller.clone(), by(&[Due])).await, "o6 o5");
        assert_eq!(orders(caller.clone(), by(&[Settled])).await, "o2 o1");
        assert_eq!(orders(caller.clone(), by(&[Due, Failed])).await, "o6 o5 o4 o3", "what is still to be paid");
        assert_eq!(orders(caller.clone(), by(&[Failed, Settled, Due])).await, "o6 o5 o4 o3 o2 o1");
        let kinds = vec![v1::DisputeKind::Cancellation.into()];
        assert_eq!(orders(caller.clone(), v1::ListDisputesRequest { kinds, ..by(&[Due]) }).await, "");
        assert_eq!(orders(caller, by(&[Returned, Voided])).await, "");
    }
    platform.report(returned(&offers[1].dispute_id, "back")).await.unwrap();
    platform.report(voided(&offers[3].dispute_id, "elsewhere")).await.unwrap();
    for caller in service.everybody() {
        assert_eq!(orders(caller.clone(), by(&[Returned])).await, "o1");
        assert_eq!(orders(caller.clone(), by(&[Voided])).await, "o3");
        assert_eq!(orders(caller.clone(), by(&[Voided, Returned, Settled])).await, "o3 o2 o1");
        assert_eq!(orders(caller, by(&[Due, Failed, Returned])).await, "o6 o5 o4 o1", "what is still to be paid");
    }
}

async fn disputes_are_found_by_their_last_event(service: Service) {
    let offers = offers(&service).await;
    service.clock.advance(Duration::from_secs(13));
    for number in [1, 4] {
        service.user("ann").decline(decline(&offers[number].dispute_id)).await.unwrap();
    }
    let after = |seconds| v1::ListDisputesRequest { updated_after: Some(at(seconds)), ..Default::default() };
    for caller in service.everybody() {
        assert_eq!(orders(caller.clone(), after(-1)).await, "o6 o5 o4 o3 o2 o1 o0");
        assert_eq!(orders(caller.clone(), after(5)).await, "o6 o4 o1", "exclusive: o5 was opened at 5");
        assert_eq!(orders(caller.clone(), after(3)).await, "o6 o5 o4 o1", "what was opened since, and what was not");
        assert_eq!(orders(caller.clone(), after(19)).await, "o4 o1");
        assert_eq!(orders(caller.clone(), after(20)).await, "");
        let pending = vec![v1::DisputeStatus::Pending.into()];
        let open = v1::ListDisputesRequest { statuses: pending, ..after(3) };
        assert_eq!(orders(caller.clone(), open).await, "o6 o5", "and whatever else is asked for");
        let declined = vec![v1::DisputeStatus::Declined.into()];
        assert_eq!(orders(caller, v1::ListDisputesRequest { statuses: declined, ..after(3) }).await, "o4 o1");
    }
}

async fn pending_disputes_are_listed_by_their_deadline(service: Service) {
    let offers = offers(&service).await;
    let mut support = service.support();
    support.postpone(postpone(&offers[0].dispute_id, 999_999)).await.unwrap();
    support.postpone(postpone(&offers[3].dispute_id, 172_801)).await.unwrap_err();
    support.escalate(escalate(&offers[2].dispute_id)).await.unwrap();
    service.user("ann").decline(decline(&offers[5].dispute_id)).await.unwrap();
    let urgent = || v1::ListDisputesRequest { order_by_respond_by: true, ..Default::default() };
    for caller in service.everybody() {
        assert_eq!(orders(caller.clone(), urgent()).await, "o1 o3 o4 o6 o0", "pending ones, the most urgent first");
        let others = v1::ListDisputesRequest { statuses: vec![v1::DisputeStatus::Declined.into()], ..urgent() };
        assert_eq!(orders(caller, others).await, "");
    }
    let side = v1::DisputeSide::Responder.into();
    let to_answer = || v1::ListDisputesRequest { side, ..urgent() };
    assert_eq!(orders(service.user("ann"), to_answer()).await, "o1 o3 o4 o6 o0");
    assert_eq!(orders(service.user("bob"), to_answer()).await, "");
    assert_eq!(orders(service.user("eve"), urgent()).await, "");
}

async fn open_disputes_of_a_party_are_listed_like_the_rest(service: Service) {
    let offers = offers(&service).await;
    service.support().escalate(escalate(&offers[2].dispute_id)).await.unwrap();
    for number in [1, 5] {
        service.user("ann").decline(decline(&offers[number].dispute_id)).await.unwrap();
    }
    use v1::DisputeStatus::{Declined, Escalated, Pending};
    let by = |statuses: &[v1::DisputeStatus]| v1::ListDisputesRequest {
        statuses: statuses.iter().map(|status| i32::from(*status)).collect(),
        ..Default::default()
    };
    for caller in service.everybody() {
        assert_eq!(orders(caller.clone(), by(&[Pending, Escalated])).await, "o6 o4 o3 o2 o0");
        assert_eq!(orders(caller.clone(), by(&[Escalated])).await, "o2");
        assert_eq!(orders(caller.clone(), by(&[Declined, Escalated])).await, "o5 o2 o1");
        let listed = caller.clone().list(by(&[Declined])).await.disputes;
        for dispute in listed {
            let got = caller.clone().dispute(&dispute.dispute_id).await;
            assert_eq!(dispute, got, "a list shows what a single dispute does");
        }
    }
}

async fn orders_with_an_open_dispute_are_found(service: Service) {
    let offers = offers(&service).await;
    service.user("ann").ask(update("o3")).await.unwrap();
    for number in [0, 3, 6] {
        service.user("ann").decline(decline(&offers[number].dispute_id)).await.unwrap();
    }
    service.support().escalate(escalate(&offers[6].dispute_id)).await.unwrap();
    for mut caller in service.everybody() {
        let mut found = Vec::new();
        let mut request = v1::ListOrdersRequest { has_open_dispute: true, page_size: 2, ..Default::default() };
        loop {
            let page = caller.orders.list_orders(request.clone()).await.unwrap().into_inner();
            for order in page.orders {
                assert_eq!(order, caller.order(&order.order_id).await, "a list shows what a single order does");
                assert_eq!(order.open_dispute_ids.len(), 1);
                assert_eq!(order.completion_hold, order.order_id == "o6");
                found.push(order.order_id);
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(found, ["o6", "o5", "o4", "o3", "o2", "o1"]);
    }
    let of_eve = v1::ListOrdersRequest { has_open_dispute: true, ..Default::default() };
    assert_eq!(service.user("eve").orders.list_orders(of_eve).await.unwrap().into_inner().orders, []);
}

async fn a_watch_from_a_lists_token_misses_nothing(service: Service) {
    let offers = offers(&service).await;
    let mut ann = service.user("ann");
    let request = v1::ListDisputesRequest { page_size: 3, ..Default::default() };
    let first = ann.list(request.clone()).await;
    // Between the pages something happens to what was listed, and to what was not yet.
    ann.decline(decline(&offers[6].dispute_id)).await.unwrap();
    ann.decline(decline(&offers[0].dispute_id)).await.unwrap();
    let second =
        ann.list(v1::ListDisputesRequest { page_token: first.next_page_token.clone(), ..request.clone() }).await;
    ann.ask(update("o0")).await.unwrap();
    let third = ann.list(v1::ListDisputesRequest { page_token: second.next_page_token.clone(), ..request }).await;
    assert_eq!(third.next_page_token, "");
    assert!(
        [&second, &third].iter().all(|page| page.resume_token == first.resume_token),
        "the first page's, on every page"
    );
    let mut watch = ann.watch_from(&first.resume_token).await;
    let heard: Vec<_> =
        watch.take(3).await.iter().map(|event| (event.r#type(), event.dispute.clone().unwrap().order_id)).collect();
    use v1::EventType::{Declined, Opened};
    let expected = [(Declined, "o6"), (Declined, "o0"), (Opened, "o0")];
    assert_eq!(heard, expected.map(|(event_type, order)| (event_type, order.to_owned())));
}
