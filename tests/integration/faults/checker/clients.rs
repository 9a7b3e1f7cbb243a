//! Everybody who uses the service during a run: clients that send commands, and subscribers of many kinds. In the end
//! everybody catches up, and what was noted is a history to judge.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::proto::v1::list_dispute_events_request::Start as ListFrom;
use dispute_service::proto::v1::{DisputeKind, EventType};
use fastrand::Rng;
use tokio::task::JoinSet;

use super::following::{Follower, Following, Habit, is_unknown};
use super::history::{Answer, End, Event, History, Start, Subscriber, View};
use super::load::Load;
use super::{moment, pause};
use crate::support::callers::Party;

/// How long everything that is still to come may take once the faults have ended.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Those who send commands, and those who subscribe.
pub struct Clients {
    pub load: Arc<Load>,
    pub following: Arc<Following>,
    followers: Vec<Arc<Follower>>,
    sending: JoinSet<()>,
    subscribing: JoinSet<()>,
}

impl Clients {
    /// Clients of the replicas at these addresses, and subscribers of those.
    pub fn new(loaded: &[String], followed: &[String]) -> Self {
        Self {
            load: Load::new(loaded),
            following: Following::new(followed),
            followers: Vec::new(),
            sending: JoinSet::new(),
            subscribing: JoinSet::new(),
        }
    }

    /// They begin; more of them with a snapshot or from now where failovers lose commits.
    pub fn start(&mut self, has_failovers: bool, rng: &mut Rng) {
        self.sending = self.load.start(rng);
        self.subscribe_all(has_failovers, rng);
    }

    /// Ends them, once everybody has caught up. What failovers have lost is for others to say.
    pub async fn finish(&mut self, rng: &mut Rng) -> History {
        self.load.end();
        self.following.settle();
        while let Some(ended) = self.sending.join_next().await {
            ended.unwrap();
        }
        let log = self.wait_for_the_end(rng).await;
        self.following.end();
        while let Some(ended) = self.subscribing.join_next().await {
            ended.unwrap();
        }
        let subscribers = self.subscribers(rng).await;
        let (commands, orders) = (self.load.commands(), self.load.orders());
        History { log, commands, orders, subscribers, failovers: Vec::new() }
    }

    /// What should not have happened to any of them, until now.
    pub fn complaints(&self) -> Vec<String> {
        let all = [&self.load.complaints, &self.following.complaints];
        all.into_iter().flat_map(|complaints| std::mem::take(&mut *complaints.lock().unwrap())).collect()
    }

    /// One more subscriber.
    pub fn subscribe(&mut self, name: &str, view: View, start: Start, habit: Habit, rng: &mut Rng) {
        let follower = Follower::new(&self.following, name, view, start, habit);
        self.subscribing.spawn(follower.clone().run(rng.fork()));
        self.followers.push(follower);
    }

    fn subscribe_all(&mut self, has_failovers: bool, rng: &mut Rng) {
        let everything = View::default;
        let caller = |id: &str| View { caller: Some(id.to_owned()), ..View::default() };
        let times = vec![EventType::DeadlineApproaching, EventType::DeadlineExpired];
        let orders = (0..40).map(|number| format!("o{number}")).collect();
        for (name, view, start, habit) in [
            ("everything", everything(), Start::Beginning, Habit::Steady),
            ("restless", everything(), Start::Beginning, Habit::Restless),
            ("forgetful", everything(), Start::Beginning, Habit::Forgetful),
            ("slow", everything(), Start::Beginning, Habit::Slow),
            ("listing", everything(), Start::Beginning, Habit::Listing),
            ("from now", everything(), Start::Now, Habit::Restless),
            ("a buyer", caller("buyer-0"), Start::Beginning, Habit::Restless),
            ("a seller", caller("seller-0"), Start::Beginning, Habit::Forgetful),
            ("a party", View { party: Some("buyer-1".to_owned()), ..everything() }, Start::Beginning, Habit::Slow),
            ("orders", View { orders, ..everything() }, Start::Beginning, Habit::Restless),
            ("updates", View { kinds: vec![DisputeKind::OrderUpdate], ..everything() }, Start::Now, Habit::Steady),
            ("times", View { types: times, ..everything() }, Start::Beginning, Habit::Forgetful),
            ("snapshots", everything(), Start::Snapshot, Habit::Fickle),
            ("snapshots of a buyer", caller("buyer-2"), Start::Snapshot, Habit::Fickle),
            ("lists of a buyer", caller("buyer-3"), Start::List, Habit::Fickle),
        ] {
            self.subscribe(name, view, start, habit, rng);
        }
        if has_failovers {
            let updates = View { kinds: vec![DisputeKind::OrderUpdate], ..everything() };
            for name in ["more snapshots", "many snapshots"] {
                self.subscribe(name, everything(), Start::Snapshot, Habit::Fickle, rng);
            }
            self.subscribe("snapshots of updates", updates, Start::Snapshot, Habit::Fickle, rng);
            self.subscribe("again from now", everything(), Start::Now, Habit::Fickle, rng);
            self.subscribe("a seller from now", caller("seller-1"), Start::Now, Habit::Fickle, rng);
        }
    }

    /// A snapshot of everything, of one buyer, or of one kind in turn.
    pub fn subscribe_with_snapshot(&mut self, number: usize, rng: &mut Rng) {
        let view = match number % 3 {
            0 => View { caller: Some("buyer-2".to_owned()), ..View::default() },
            1 => View::default(),
            _ => View { kinds: vec![DisputeKind::PartialRefund, DisputeKind::Cancellation], ..View::default() },
        };
        self.subscribe(&format!("snapshot {number}"), view, Start::Snapshot, Habit::Restless, rng);
    }

    /// Waits until no dispute is pending and nobody has anything to catch up with. Returns the log, listed from its
    /// beginning.
    async fn wait_for_the_end(&self, rng: &mut Rng) -> Vec<Arc<Event>> {
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
    async fn subscribers(&self, rng: &mut Rng) -> Vec<Subscriber> {
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

    /// What happened, in numbers.
    pub fn summary(&self, history: &History) -> String {
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
             times that their place is lost; {shown} snapshots of up to {largest} disputes; failovers lost {lost:?} events",
            answered(|answer| matches!(answer, Answer::Acknowledged { .. })),
            answered(|answer| matches!(answer, Answer::Refused(_))),
            history.commands.iter().filter(|command| command.attempts > 1).count(),
            history.log.len(),
            history.subscribers.len(),
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
