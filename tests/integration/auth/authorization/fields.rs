//! What of a dispute depends on who sees it. Everything else is the same for all who see it, in every answer and event.

use std::fmt::Write as _;

use dispute_service::proto::v1;

use super::world::World;
use crate::support::callers::Party;
use crate::support::messages::*;

const VIEWERS: [&str; 4] = ["buyer", "seller", "support", "platform"];

/// A field that depends on the viewer: what is printed of it, and how it is left out.
struct Field {
    name: &'static str,
    cell: fn(&v1::Dispute) -> String,
    clear: fn(&mut v1::Dispute),
}

fn shown(is_shown: bool) -> String {
    if is_shown { "yes" } else { "–" }.to_owned()
}

const REASON: Field = Field {
    name: "`reason`, `reason_detail`",
    cell: |dispute| {
        assert_eq!(dispute.reason != 0, !dispute.reason_detail.is_empty(), "both or none");
        shown(dispute.reason != 0)
    },
    clear: |dispute| (dispute.reason, dispute.reason_detail) = (0, String::new()),
};

const AGENT: Field = Field {
    name: "`decided_by`",
    cell: |dispute| shown(!dispute.decided_by.is_empty()),
    clear: |dispute| dispute.decided_by.clear(),
};

const DETAIL: Field = Field {
    name: "`settlement.detail`",
    cell: |dispute| shown(!dispute.settlement.as_ref().unwrap().detail.is_empty()),
    clear: |dispute| dispute.settlement.as_mut().unwrap().detail.clear(),
};

const ACTIONS: Field = Field {
    name: "`allowed_actions`",
    cell: |dispute| {
        let names: Vec<_> = dispute.allowed_actions().map(|action| action.as_str_name()).collect();
        if names.is_empty() { shown(false) } else { names.join(", ").replace("DISPUTE_ACTION_", "") }
    },
    clear: |dispute| dispute.allowed_actions.clear(),
};

/// The seller offered a refund, support decided, and the payment failed.
async fn decided(world: &mut World) -> String {
    let order = world.order().await;
    let reason = v1::Reason::Other.into();
    let offer = v1::OfferPartialRefundRequest { reason, reason_detail: "why".to_owned(), ..offer(&order, 100) };
    let dispute = world.party("seller").offer(offer).await.unwrap().dispute_id;
    world.party("buyer").decline(decline(&dispute)).await.unwrap();
    world.party("buyer").escalate(escalate(&dispute)).await.unwrap();
    world.party("support").decide(refund(&dispute, 100)).await.unwrap();
    world.party("platform").report(failed(&dispute, "no such account")).await.unwrap();
    dispute
}

/// A party asks to cancel.
async fn cancelling(world: &mut World, opener: &str) -> String {
    let order = world.order().await;
    let reason = v1::Reason::Other.into();
    let cancel = v1::RequestCancellationRequest { reason, reason_detail: "why".to_owned(), ..cancellation(&order) };
    world.party(opener).cancel(cancel).await.unwrap().dispute_id
}

/// The dispute as this caller is answered it, in whichever way.
async fn answered(mut viewer: Party, id: &str) -> v1::Dispute {
    let dispute = viewer.dispute(id).await;
    let list = v1::ListDisputesRequest { order_id: dispute.order_id.clone(), ..Default::default() };
    assert_eq!(viewer.list(list).await.disputes, std::slice::from_ref(&dispute), "a list shows the same");
    dispute
}

/// The dispute as its last event shows it to this caller.
async fn logged(mut viewer: Party, id: &str) -> v1::Dispute {
    let filter = v1::DisputeEventFilter { dispute_ids: vec![id.to_owned()], ..Default::default() };
    let (mut events, _) = viewer.events_of(Some(filter), 500).await;
    events.pop().unwrap().dispute.unwrap()
}

/// A row for each field: whether each viewer is shown it, and whether events contain it.
async fn rows(world: &World, out: &mut String, id: &str, fields: &[(&Field, &str)]) {
    let mut disputes = Vec::new();
    for viewer in VIEWERS {
        disputes.push(answered(world.party(viewer), id).await);
    }
    let event = logged(world.party("buyer"), id).await;
    for viewer in VIEWERS {
        assert_eq!(logged(world.party(viewer), id).await, event, "events are the same for everybody");
    }
    disputes.push(event);
    for (field, what) in fields {
        let cells: Vec<_> = disputes.iter().map(field.cell).collect();
        writeln!(out, "| {}{what} | {} |", field.name, cells.join(" | ")).unwrap();
    }
    for dispute in &mut disputes {
        for (field, _) in fields {
            (field.clear)(dispute);
        }
        (ACTIONS.clear)(dispute);
    }
    let [first, rest @ ..] = disputes.as_slice() else { panic!("nobody sees it") };
    assert!(rest.iter().all(|dispute| dispute == first), "nothing else depends on the viewer: {disputes:#?}");
}

/// Whether the options of each party say how the seller's rate would change.
async fn rates(world: &mut World, out: &mut String) {
    let ended = v1::Order { status: v1::OrderStatus::Completed.into(), ..order("ended") };
    world.party("platform").upsert(ended).await;
    let order = world.order().await;
    let mut cells = Vec::new();
    for viewer in ["buyer", "seller"] {
        let options = world.party(viewer).options(&order).await.options;
        cells.push(shown(options.iter().any(|option| option.rate_before_bps.is_some())));
    }
    writeln!(out, "| `rate_before_bps`, `rate_after_bps` of an option | {} | – | – | – |", cells.join(" | ")).unwrap();
}

pub(super) async fn print(out: &mut String, world: &mut World) {
    writeln!(out, "\n| field | {} | events |\n|---{}|", VIEWERS.join(" | "), "|---".repeat(5)).unwrap();
    let (offer, by_buyer) = (decided(world).await, cancelling(world, "buyer").await);
    let by_seller = cancelling(world, "seller").await;
    let decided = [
        (&REASON, " of an offer by the seller"),
        (&AGENT, ""),
        (&DETAIL, ""),
        (&ACTIONS, " while its refund is to be paid"),
    ];
    rows(world, out, &offer, &decided).await;
    let pending = [(&REASON, " of a cancellation by the buyer"), (&ACTIONS, " while that is PENDING")];
    rows(world, out, &by_buyer, &pending).await;
    rows(world, out, &by_seller, &[(&REASON, " of a cancellation by the seller")]).await;
    rates(world, out).await;
    out.push_str("| everything else | yes | yes | yes | yes | yes |\n");
}
