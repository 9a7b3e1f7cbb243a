//! How most tests begin: new orders between `ann`, or another buyer, and `bob`, and a dispute that is open on each.

use std::ops::Range;

use dispute_service::proto::v1;

use super::messages::{cancellation, offer, order, update};
use super::service::Service;

/// How many orders one request takes, and how many callers ask at once.
const ORDERS: usize = 500;
const CALLERS: usize = 64;

impl Service {
    /// An order of this buyer, who asks for an update.
    pub async fn order_with_update(&self, id: &str, buyer: &str) -> v1::Dispute {
        self.platform().upsert(v1::Order { buyer_id: buyer.to_owned(), ..order(id) }).await;
        self.user(buyer).ask(update(id)).await.unwrap()
    }

    /// The same on the orders `o0`, `o1` … with these numbers, one after the other, by `ann`: so many events.
    pub async fn orders_with_updates(&self, numbers: Range<usize>) {
        for number in numbers {
            self.order_with_update(&format!("o{number}"), "ann").await;
        }
    }

    /// The same on many orders at once, whose ids are this and a number.
    pub async fn many_orders_with_updates(&self, prefix: &str, numbers: Range<usize>, buyer: &str) {
        let ids: Vec<_> = numbers.map(|number| format!("{prefix}{number}")).collect();
        for ids in ids.chunks(ORDERS) {
            let orders = ids.iter().map(|id| v1::Order { buyer_id: buyer.to_owned(), ..order(id) }).collect();
            self.platform().orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
        }
        let callers: Vec<_> = ids
            .chunks(ids.len().div_ceil(CALLERS))
            .map(|ids| {
                let (mut caller, ids) = (self.user(buyer), ids.to_vec());
                tokio::spawn(async move {
                    for id in ids {
                        caller.ask(update(&id)).await.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    }

    /// An order on which `bob` offers to refund so much.
    pub async fn order_with_offer(&self, id: &str, cents: i64) -> v1::Dispute {
        self.platform().upsert(order(id)).await;
        self.user("bob").offer(offer(id, cents)).await.unwrap()
    }

    /// An order that this party wants to cancel.
    pub async fn order_with_cancellation(&self, id: &str, party: &str) -> v1::Dispute {
        self.platform().upsert(order(id)).await;
        self.user(party).cancel(cancellation(id)).await.unwrap()
    }
}
