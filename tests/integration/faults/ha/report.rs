//! What a trial has shown: a table, and a judgement.

use std::fmt;
use std::sync::Arc;

use dispute_service::proto::v1;
use tokio::task::block_in_place;
use tonic::transport::Endpoint;

use super::cluster::Mode;
use super::node::Cut;
use super::{Fault, PROMISE, Trial};
use crate::faults::checker::history::{End, Event, History};
use crate::faults::checker::judge::judge;
use crate::support::callers::Party;
use crate::support::messages::from_beginning;

/// What was seen of a fault; times are in microseconds.
pub struct Seen {
    pub fault: Fault,
    /// From the fault to the new primary.
    pub primary: i64,
    /// From there to the first acknowledged command, at each replica.
    pub acknowledged: Vec<i64>,
    /// How many events the old primary alone had.
    pub lost: usize,
    /// From the new primary until every node followed it.
    pub whole: i64,
}

/// One row of the table.
impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Kill => "node killed",
            Fault::SwitchOver => "switchover",
            Fault::CutOff(Cut::Everything) => "cut off from everything",
            Fault::CutOff(Cut::Cluster) => "cut off from etcd and the other nodes",
            Fault::FreezePatroni => "Patroni hangs, watchdog",
        };
        let seconds = |micros: i64| format!("{}.{}", micros / 1_000_000, micros / 100_000 % 10);
        let acknowledged: Vec<_> = self.acknowledged.iter().map(|micros| seconds(*micros)).collect();
        let (primary, acknowledged, whole) = (seconds(self.primary), acknowledged.join(" / "), seconds(self.whole));
        // One that is switched over follows the new one at once: there is nothing to compare.
        let lost = if self.fault == Fault::SwitchOver { "–".to_owned() } else { self.lost.to_string() };
        write!(formatter, "| {fault} | {primary} | {acknowledged} | {lost} | {whole} |")
    }
}

impl Trial {
    /// Ends everything, and judges what everybody noted.
    pub(super) async fn finish(mut self) {
        let mut history = self.clients.finish(&mut self.rng).await;
        history.failovers = std::mem::take(&mut self.failovers);
        let mut violations = judge(&history);
        violations.append(&mut self.clients.complaints());
        let ends = std::mem::take(&mut *self.clients.following.ends.lock().unwrap());
        violations.extend(ends.iter().map(|end| format!("a stream ended: {end}")));
        let late = self.seen.iter().filter(|seen| {
            seen.acknowledged.iter().any(|micros| u128::try_from(*micros).unwrap() > PROMISE.as_micros())
        });
        violations.extend(late.map(|seen| format!("commands went on too late: {seen}")));
        violations.extend(self.agree(&history).await);
        for replica in &mut self.replicas {
            if !block_in_place(|| replica.terminate()) {
                violations.push("a replica did not exit with 0 after SIGTERM".to_owned());
            }
            violations.extend(replica.complaints());
        }
        self.print(&history);
        let shown = violations.iter().take(40).cloned().collect::<Vec<_>>().join("\n- ");
        let seed = self.seed;
        assert!(violations.is_empty(), "HA_SEED={seed}: {} violations\n- {shown}", violations.len());
        if self.mode == Mode::Asynchronous {
            let is_lost = history.failovers.iter().any(|failover| !failover.lost.is_empty());
            let is_told = history.subscribers.iter().any(|one| matches!(one.end, End::Unknown { .. }));
            assert!(is_lost && is_told, "HA_SEED={seed}: no failover lost anything that somebody knew");
        }
    }

    fn print(&self, history: &History) {
        println!("{:?}, HA_SEED={}: {}\n", self.mode, self.seed, self.clients.summary(history));
        println!(
            "| the primary | new primary after, s | first command acknowledged after that, s | events that only the old one \
             had | all nodes follow after, s |"
        );
        println!("|---|---|---|---|---|");
        self.seen.iter().for_each(|seen| println!("{seen}"));
        println!();
    }

    /// Whether both replicas tell the same: the list of events, that of disputes, and a stream from the beginning.
    async fn agree(&self, history: &History) -> Vec<String> {
        let mut violations = Vec::new();
        let mut disputes = Vec::new();
        for replica in &self.replicas {
            let channel =
                Endpoint::from_shared(format!("http://{}", replica.address)).unwrap().connect().await.unwrap();
            let mut platform = Party::new(channel, "shop", Some("platform"));
            let listed = platform.events_of(None, 500).await.0;
            let followed = platform.watch(from_beginning()).await.take(history.log.len()).await;
            for (how, events) in [("lists", listed), ("streams", followed)] {
                let events: Vec<_> = events.iter().map(|event| Arc::new(Event::of(event))).collect();
                if events != history.log {
                    violations.push(format!("{} {how} other events than the log has", replica.address));
                }
            }
            let request = v1::ListDisputesRequest { page_size: 500, ..Default::default() };
            disputes.push(platform.list_all(request).await);
        }
        if disputes.windows(2).any(|two| two[0] != two[1]) {
            violations.push("the replicas list different disputes".to_owned());
        }
        violations
    }
}
