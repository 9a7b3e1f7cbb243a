//! Real processes under load, while they, their database and their connections are stopped, killed, cut and frozen at
//! random: what every client was told and what every subscriber saw is judged. `FAULTS_SEED` runs a schedule again,
//! `FAULTS_SECONDS` a longer one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispute_service::proto::v1;
use dispute_service::proto::v1::list_dispute_events_request::Start as ListFrom;
use dispute_service::proto::v1::{DisputeKind, EventType};
use fastrand::Rng;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::checker::following::{Follower, Following, Habit};
use crate::checker::history::{Answer, Event, History, Start, View};
use crate::checker::judge::judge;
use crate::checker::load::Load;
use crate::checker::pause;
use crate::support::cluster::{Replica, Shared, blocking, fixed_port};
use crate::support::database;
use crate::support::server::Postgres;

/// Short enough that deadlines pass all the time.
const POLICY: &str = "response_window = \"3s\"\nreminders = [\"1s\"]\n";
/// How long faults go on by default.
const SECONDS: u64 = 20;
/// The promise of how long a process takes to drain.
const DRAIN: Duration = Duration::from_secs(10);
/// How long everything that is still to come may take once the faults have ended.
const PATIENCE: Duration = Duration::from_secs(120);
const REPLICAS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_anything_whatever_happens_to_a_process_on_sqlite() {
    let (seed, mut rng) = seed();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    World::start(seed, &mut rng, url, 1, None).await.run(rng).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_anything_whatever_happens_to_replicas_and_their_postgres() {
    let (seed, mut rng) = seed();
    let mut ports = rng.fork();
    let postgres = tokio::task::spawn_blocking(move || Postgres::start_cluster(&mut ports)).await.unwrap();
    if let Some(postgres) = postgres {
        let url = postgres.database_url();
        World::start(seed, &mut rng, url, REPLICAS, Some(postgres)).await.run(rng).await;
    }
}

fn seed() -> (u64, Rng) {
    let given = std::env::var("FAULTS_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    (seed, Rng::with_seed(seed))
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGTERM, after which it must end well, and in time.
    Terminate,
    Freeze,
    FreezeAndKill,
    /// As a machine does that loses its power.
    StopDatabase,
    /// Some connections to the database.
    CutSome,
    CutAll,
}

struct World {
    seed: u64,
    url: String,
    replicas: Vec<Shared<Replica>>,
    postgres: Option<Shared<Postgres>>,
    load: Arc<Load>,
    following: Arc<Following>,
    followers: Vec<Arc<Follower>>,
    tasks: JoinSet<()>,
    /// What was done to whom, and how often.
    faults: BTreeMap<Fault, usize>,
    _policy: tempfile::NamedTempFile,
}

impl World {
    async fn start(seed: u64, rng: &mut Rng, url: String, replicas: usize, postgres: Option<Postgres>) -> Self {
        println!("FAULTS_SEED={seed}");
        let policy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(policy.path(), POLICY).unwrap();
        let mut addresses = Vec::new();
        let mut started = Vec::new();
        for _ in 0..replicas {
            let address = format!("127.0.0.1:{}", fixed_port(rng));
            let replica = Replica::new(address.clone(), &url, &policy.path().display().to_string());
            let replica = Arc::new(Mutex::new(replica));
            blocking(replica.clone().lock_owned().await, Replica::start).await;
            addresses.push(address);
            started.push(replica);
        }
        Self {
            seed,
            url,
            replicas: started,
            postgres: postgres.map(|postgres| Arc::new(Mutex::new(postgres))),
            load: Load::new(&addresses),
            following: Following::new(&addresses),
            followers: Vec::new(),
            tasks: JoinSet::new(),
            faults: BTreeMap::new(),
            _policy: policy,
        }
    }

    async fn run(mut self, mut rng: Rng) {
        let seconds = std::env::var("FAULTS_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
        let mut clients = self.load.start(&mut rng);
        self.subscribe_all(&mut rng);
        let mut healing = JoinSet::new();
        let quarter = Duration::from_secs(seconds) / 4;
        for number in 1..=4 {
            self.do_faults(quarter, number == 4, &mut healing, &mut rng).await;
            self.subscribe_with_snapshot(number, &mut rng);
            if number == 3 {
                self.subscribe("late", View::default(), Start::Beginning, Habit::Steady, &mut rng);
            }
        }
        while let Some(healed) = healing.join_next().await {
            healed.unwrap();
        }
        self.load.end();
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        let log = self.wait_for_the_end(&mut rng).await;
        self.following.end();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.finish(log).await;
    }

    fn subscribe(&mut self, name: &str, view: View, start: Start, habit: Habit, rng: &mut Rng) {
        let follower = Follower::new(&self.following, name, view, start, habit);
        self.tasks.spawn(follower.clone().run(rng.fork()));
        self.followers.push(follower);
    }

    fn subscribe_all(&mut self, rng: &mut Rng) {
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
        ] {
            self.subscribe(name, view, start, habit, rng);
        }
    }

    /// Of everything, of one buyer, and of one kind in turn.
    fn subscribe_with_snapshot(&mut self, number: usize, rng: &mut Rng) {
        let view = match number % 3 {
            0 => View { caller: Some("buyer-2".to_owned()), ..View::default() },
            1 => View::default(),
            _ => View { kinds: vec![DisputeKind::PartialRefund, DisputeKind::Cancellation], ..View::default() },
        };
        self.subscribe(&format!("snapshot {number}"), view, Start::Snapshot, Habit::Restless, rng);
    }

    /// Faults for so long, and until each has happened once if this is the last time. What they leave behind heals by
    /// itself; where there is more than one process, later ones happen meanwhile.
    async fn do_faults(&mut self, span: Duration, is_last: bool, healing: &mut JoinSet<()>, rng: &mut Rng) {
        use Fault::{CutAll, CutSome, Freeze, FreezeAndKill, Kill, StopDatabase, Terminate};
        let is_alone = self.postgres.is_none();
        let mut all = vec![Kill, Terminate, Freeze, FreezeAndKill];
        if !is_alone {
            all.extend([Kill, Freeze, StopDatabase, CutSome, CutAll]);
        }
        // A process that is alone is left alone at times: for a subscriber to fall behind there must be something to
        // fall behind of.
        let rest = if is_alone { 500..4_000 } else { 300..1_200 };
        let mut over = std::pin::pin!(pause(span));
        let mut is_over = false;
        loop {
            rng.shuffle(&mut all);
            for fault in all.clone() {
                let wait = pause(Duration::from_millis(rng.u64(rest.clone())));
                tokio::select! {
                    () = &mut over, if !is_over => is_over = true,
                    () = wait => {}
                }
                if is_over && (!is_last || all.iter().all(|fault| self.faults.contains_key(fault))) {
                    return;
                }
                if self.happens(fault, healing, rng) {
                    *self.faults.entry(fault).or_default() += 1;
                }
                while let Some(healed) = if is_alone { healing.join_next().await } else { healing.try_join_next() } {
                    healed.unwrap();
                }
            }
        }
    }

    /// Begins a fault, unless what it would happen to has not recovered from another one.
    fn happens(&self, fault: Fault, healing: &mut JoinSet<()>, rng: &mut Rng) -> bool {
        let away = Duration::from_millis(rng.u64(100..1_500));
        match fault {
            Fault::StopDatabase | Fault::CutSome | Fault::CutAll => {
                let Some(Ok(held)) = self.postgres.clone().map(Mutex::try_lock_owned) else { return false };
                let every = if fault == Fault::CutSome { rng.u32(2..4) } else { 1 };
                healing.spawn(async move {
                    if fault == Fault::StopDatabase {
                        let (held, ()) = blocking(held, Postgres::stop).await;
                        pause(away).await;
                        blocking(held, Postgres::start).await;
                    } else {
                        held.cut(every).await;
                    }
                });
            }
            Fault::Kill | Fault::Terminate | Fault::Freeze | Fault::FreezeAndKill => {
                let replica = rng.usize(..self.replicas.len());
                let Ok(mut held) = self.replicas[replica].clone().try_lock_owned() else { return false };
                // Now and then for longer than subscribers wait.
                let frozen = if rng.u8(..6) == 0 { away + Duration::from_secs(3) } else { away };
                let following = self.following.clone();
                healing.spawn(async move {
                    if fault == Fault::Freeze || fault == Fault::FreezeAndKill {
                        following.freezes(&held.address);
                        held.freeze();
                        pause(frozen).await;
                        if fault == Fault::Freeze {
                            held.thaw();
                            return following.thaws(&held.address);
                        }
                    }
                    if fault == Fault::Terminate {
                        held = terminate(held, &following).await;
                    } else {
                        held.kill();
                        following.thaws(&held.address);
                        pause(away).await;
                    }
                    blocking(held, Replica::start).await;
                });
            }
        }
        true
    }

    /// Waits until no dispute is pending and nobody has anything to catch up with. Answers the log, listed from its
    /// beginning.
    async fn wait_for_the_end(&self, rng: &mut Rng) -> Vec<Arc<Event>> {
        let platform = self.load.somewhere(rng, "shop", Some("platform"));
        let list = async |start, page_size| {
            let request = v1::ListDisputeEventsRequest { start: Some(start), page_size, ..Default::default() };
            answered(async || platform.clone().disputes.list_dispute_events(request.clone()).await).await
        };
        let waiting = async {
            let statuses = vec![v1::DisputeStatus::Pending.into()];
            let pending = v1::ListDisputesRequest { statuses, page_size: 1, ..Default::default() };
            let list_pending = async || platform.clone().disputes.list_disputes(pending.clone()).await;
            while !answered(list_pending).await.disputes.is_empty() {
                pause(Duration::from_millis(100)).await;
            }
            for follower in &self.followers {
                loop {
                    let is_subscribed = !follower.token().is_empty();
                    let rest = list(ListFrom::ResumeToken(follower.token()), 1).await;
                    if is_subscribed && rest.events.is_empty() && !rest.more {
                        break;
                    }
                    pause(Duration::from_millis(100)).await;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            println!("not everybody has caught up, see below");
        }
        let mut log = Vec::new();
        let mut start = ListFrom::FromBeginning(true);
        loop {
            let page = list(start, 500).await;
            log.extend(page.events.iter().map(|event| Arc::new(Event::of(event))));
            if !page.more {
                return log;
            }
            start = ListFrom::ResumeToken(page.resume_token);
        }
    }

    /// Judges what everybody noted.
    async fn finish(self, log: Vec<Arc<Event>>) {
        let number = async |sql| database::number(&self.url, sql).await;
        let count = number("SELECT count(*) FROM events").await;
        let last = number("SELECT max(seq) FROM events").await;
        let head = number("SELECT head FROM event_log").await;
        let pending = number("SELECT count(*) FROM disputes WHERE status = 1").await;
        let listed = i64::try_from(log.len()).unwrap();
        let subscribers = self.followers.iter().map(|follower| follower.notes.lock().unwrap().clone()).collect();
        let history = History { log, commands: self.load.commands(), subscribers };
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
        if let Some(postgres) = &self.postgres {
            let log = postgres.lock().await.log();
            violations.extend(log.lines().filter(|line| line.contains("deadlock detected")).map(str::to_owned));
        }
        let shown = violations.iter().take(40).cloned().collect::<Vec<_>>().join("\n- ");
        let seed = self.seed;
        assert!(violations.is_empty(), "FAULTS_SEED={seed}: {} violations\n- {shown}", violations.len());

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
        let [messages, silences, rests] = [&self.following.messages, &self.following.silences, &self.following.rests]
            .map(|count| count.load(Ordering::Relaxed));
        format!(
            "commands: {} acknowledged, {} refused, {} of all sent again; {} events; {} subscribers in {sessions} streams \
             got {messages} messages, left {silences} silent streams, stopped reading {rests} times; faults: {:?}",
            answered(|answer| matches!(answer, Answer::Acknowledged { .. })),
            answered(|answer| matches!(answer, Answer::Refused(_))),
            history.commands.iter().filter(|command| command.attempts > 1).count(),
            history.log.len(),
            history.subscribers.len(),
            self.faults,
        )
    }
}

/// Asks a replica to drain, and notes if it does not keep its promise of how it ends.
async fn terminate(
    held: tokio::sync::OwnedMutexGuard<Replica>,
    following: &Following,
) -> tokio::sync::OwnedMutexGuard<Replica> {
    let mut ended = std::pin::pin!(blocking(held, Replica::terminate));
    let (held, is_well) = match tokio::time::timeout(DRAIN, &mut ended).await {
        Ok(ended) => ended,
        Err(_) => {
            following.complain("a replica took longer than 10 s to end after SIGTERM".to_owned());
            ended.await
        }
    };
    if !is_well {
        following.complain(format!("a replica did not exit with 0 after SIGTERM:\n{}", held.log()));
    }
    held
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
