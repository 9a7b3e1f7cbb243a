//! How a run ends: everybody catches up, and what was noted is judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::proto::v1::EventType;
use dispute_service::proto::v1::list_dispute_events_request::Start as ListFrom;
use fastrand::Rng;

use super::{World, terminate};
use crate::faults::checker::following::is_unknown;
use crate::faults::checker::history::{Answer, End, Event, History, Subscriber};
use crate::faults::checker::judge::judge;
use crate::faults::checker::{moment, pause};
use crate::support::callers::Party;
use crate::support::database as sql;

/// How long everything that is still to come may take once the faults have ended.
const TIMEOUT: Duration = Duration::from_secs(120);

impl World {
    /// Waits until no dispute is pending and nobody has anything to catch up with. Answers the log, listed from its
    /// beginning.
    pub(super) async fn wait_for_the_end(&self, rng: &mut Rng) -> Vec<Arc<Event>> {
        let platform = self.load.somewhere(rng, "shop", Some("platform"));
        let waiting = async {
            let statuses = vec![v1::DisputeStatus::Pending.into()];
            let pending = v1::ListDisputesRequest { statuses, page_size: 1, ..Default::default() };
            let list_pending = async || platform.clone().disputes.list_disputes(pending.clone()).await;
            while !answered(list_pending).await.disputes.is_empty() {
                pause(Duration::from_millis(100)).await;
            }
            for follower in &self.followers {
                loop {
                    let rest = self.list(platform.clone(), None, ListFrom::ResumeToken(follower.token()), 1).await;
                    let is_at_the_end = rest.is_some_and(|rest| rest.events.is_empty() && !rest.more);
                    if follower.is_complete() && is_at_the_end {
                        break;
                    }
                    pause(Duration::from_millis(100)).await;
                }
            }
        };
        if tokio::time::timeout(TIMEOUT, waiting).await.is_err() {
            println!("not everybody has caught up, see below");
        }
        let mut log = Vec::new();
        let mut start = ListFrom::FromBeginning(true);
        loop {
            let page = self.list(platform.clone(), None, start, 500).await.unwrap();
            log.extend(page.events.iter().map(|event| Arc::new(Event::of(event))));
            if !page.more {
                return log;
            }
            start = ListFrom::ResumeToken(page.resume_token);
        }
    }

    /// A page of events; `None` if the service does not know where to start.
    async fn list(
        &self,
        caller: Party,
        filter: Option<v1::DisputeEventFilter>,
        start: ListFrom,
        page_size: i32,
    ) -> Option<v1::ListDisputeEventsResponse> {
        let request = v1::ListDisputeEventsRequest { filter, start: Some(start), page_size };
        answered(async || match caller.clone().disputes.list_dispute_events(request.clone()).await {
            Err(status) if is_unknown(&status) => Ok(tonic::Response::new(None)),
            answer => answer.map(|page| page.map(Some)),
        })
        .await
    }

    /// What the subscribers noted. Of those that left by themselves the service is asked what follows their last token.
    pub(super) async fn subscribers(&self, rng: &mut Rng) -> Vec<Subscriber> {
        let mut subscribers = Vec::new();
        for follower in &self.followers {
            let (user, scope) = follower.caller();
            for (mut subscriber, token, place) in follower.notes() {
                if matches!(subscriber.end, End::Left { .. }) {
                    let mut start = token;
                    subscriber.end = loop {
                        let caller = self.load.somewhere(rng, user, scope);
                        let from = ListFrom::ResumeToken(start);
                        let Some(page) = self.list(caller, follower.filter(), from, 1).await else {
                            break End::Unknown { token: place, told: moment() };
                        };
                        if !page.events.is_empty() || !page.more {
                            break End::Left { next: page.events.first().map(|event| event.event_id.clone()) };
                        }
                        start = page.resume_token;
                    };
                }
                subscribers.push(subscriber);
            }
        }
        subscribers
    }

    /// Judges what everybody noted.
    pub(super) async fn finish(self, log: Vec<Arc<Event>>, subscribers: Vec<Subscriber>) {
        let number = async |query| sql::number(&self.url, query).await;
        let count = number("SELECT count(*) FROM events").await;
        let last = number("SELECT max(seq) FROM events").await;
        let head = number("SELECT head FROM event_log").await;
        let pending = number("SELECT count(*) FROM disputes WHERE status = 1").await;
        let listed = i64::try_from(log.len()).unwrap();
        let failovers = self.failovers.lock().await.clone();
        let (commands, orders) = (self.load.commands(), self.load.orders());
        let history = History { log, commands, orders, subscribers, failovers };
        println!("{}", self.summary(&history));

        let mut violations = judge(&history);
        if (listed, count, last, pending) != (head, head, head, 0) {
            violations.push(format!(
                "{listed} events are listed, {count} are stored, the last is number {last}, the head of the log {head}; \
                 {pending} disputes are still pending"
            ));
        }
        violations.append(&mut self.load.complaints.lock().unwrap());
        violations.append(&mut self.following.complaints.lock().unwrap());
        for replica in &self.replicas {
            let held = replica.clone().lock_owned().await;
            let held = terminate(held, &self.following).await;
            let of_note = held.log().lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked"));
            violations.extend(of_note.map(|line| format!("a replica logged: {line}")));
        }
        violations.append(&mut self.following.complaints.lock().unwrap());
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

    fn summary(&self, history: &History) -> String {
        let answered = |is: fn(&Answer) -> bool| history.commands.iter().filter(|command| is(&command.answer)).count();
        let sessions: usize = history.subscribers.iter().map(|subscriber| subscriber.sessions.len()).sum();
        let told = |subscriber: &&Subscriber| matches!(subscriber.end, End::Unknown { .. });
        let told = history.subscribers.iter().filter(told).count();
        let snapshots = history.subscribers.iter().flat_map(|subscriber| subscriber.snapshots());
        let (shown, largest) = snapshots.fold((0, 0), |(count, largest), size| (count + 1, largest.max(size)));
        let lost: Vec<_> = history.failovers.iter().map(|failover| failover.lost.len()).collect();
        let [messages, silences, rests] = [&self.following.messages, &self.following.silences, &self.following.rests]
            .map(|count| count.load(Ordering::Relaxed));
        format!(
            "commands: {} acknowledged, {} refused, {} of all sent again; {} events; {} subscribers in {sessions} streams \
             got {messages} messages, left {silences} silent streams, stopped reading {rests} times, were told {told} \
             times that their place is lost; {shown} snapshots of up to {largest} disputes; failovers lost {lost:?} events; \
             faults: {:?}",
            answered(|answer| matches!(answer, Answer::Acknowledged { .. })),
            answered(|answer| matches!(answer, Answer::Refused(_))),
            history.commands.iter().filter(|command| command.attempts > 1).count(),
            history.log.len(),
            history.subscribers.len(),
            self.faults,
        )
    }
}

/// Asks until there is an answer: a connection to the database that was cut may be noticed only when it is used.
async fn answered<T>(ask: impl AsyncFn() -> Result<tonic::Response<T>, tonic::Status>) -> T {
    for _ in 0..100 {
        match ask().await {
            Ok(answer) => return answer.into_inner(),
            Err(status) if status.code() == tonic::Code::Unavailable => pause(Duration::from_millis(100)).await,
            Err(status) => panic!("{status:?}"),
        }
    }
    panic!("the service stays away")
}
