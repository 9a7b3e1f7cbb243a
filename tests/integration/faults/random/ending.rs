//! How a run ends: everybody catches up, and what was noted is judged.

use dispute_service::proto::v1::EventType;

use super::{World, terminate};
use crate::faults::checker::history::History;
use crate::faults::checker::judge::judge;
use crate::support::database as sql;

impl World {
    /// Judges what everybody noted.
    pub(super) async fn finish(self, mut history: History) {
        let number = async |query| sql::number(&self.url, query).await;
        let count = number("SELECT count(*) FROM events").await;
        let last = number("SELECT max(seq) FROM events").await;
        let head = number("SELECT head FROM event_log").await;
        let pending = number("SELECT count(*) FROM disputes WHERE status = 1").await;
        let listed = i64::try_from(history.log.len()).unwrap();
        history.failovers.clone_from(&*self.failovers.lock().await);
        println!("{}; faults: {:?}", self.clients.summary(&history), self.faults);

        let mut violations = judge(&history);
        if (listed, count, last, pending) != (head, head, head, 0) {
            violations.push(format!(
                "{listed} events are listed, {count} are stored, the last is number {last}, the head of the log {head}; \
                 {pending} disputes are still pending"
            ));
        }
        violations.append(&mut self.clients.complaints());
        for replica in &self.replicas {
            let held = replica.clone().lock_owned().await;
            let held = terminate(held, &self.clients.following).await;
            violations.extend(held.complaints());
        }
        violations.append(&mut self.clients.complaints());
        if let Some(database) = &self.database {
            let log = database.lock().await.log();
            violations.extend(log.lines().filter(|line| line.contains("deadlock detected")).map(str::to_owned));
        }
        let shown = violations.iter().take(40).cloned().collect::<Vec<_>>().join("\n- ");
        let seed = self.seed;
        assert!(violations.is_empty(), "FAULTS_SEED={seed}: {} violations\n- {shown}", violations.len());

        let is_lost = history.failovers.iter().any(|failover| !failover.lost.is_empty());
        assert!(is_lost || !self.has_failovers, "FAULTS_SEED={seed}: no failover lost anything");
        let resent = history.commands.iter().any(|command| command.attempts > 1);
        assert!(history.log.len() > 100 && resent, "FAULTS_SEED={seed}: too little happened to show anything");
        for what in [EventType::Opened, EventType::Accepted, EventType::DeadlineApproaching, EventType::DeadlineExpired]
        {
            assert!(history.log.iter().any(|event| event.what == what), "FAULTS_SEED={seed}: {what:?} never happened");
        }
    }
}
