//! Real processes under load, while they, their database and their connections are stopped, killed, cut, frozen and, with
//! the loss of commits, replaced at random: what every client was told and what every subscriber saw is judged. `FAULTS_SEED` runs a schedule again,
//! `FAULTS_SECONDS` a longer one.

mod database;
mod ending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use self::database::{Database, Held, fail_over, lose, rebuild};
use crate::faults::checker::clients::Clients;
use crate::faults::checker::following::{Failing, Following, Habit};
use crate::faults::checker::history::{Failover, Start, View};
use crate::faults::checker::pause;
use crate::support::cluster::{Replica, Shared, blocking, fixed_port};
use crate::support::replication::Replicated;
use crate::support::server::Postgres;

/// Short enough that deadlines pass all the time, and for updates long enough that a snapshot has several pages.
const POLICY: &str = "response_window = \"3s\"\nreminders = [\"1s\"]\n[order_update]\nresponse_window = \"10s\"\n\
    [partial_refund]\nmax_counter_offers = 5\n";
/// How long faults go on by default.
const SECONDS: u64 = 20;
/// The promise of how long a process takes to drain.
const DRAIN: Duration = Duration::from_secs(10);
const REPLICAS: usize = 3;
/// Within this most of those begin who want a snapshot.
const BEGINNING: Duration = Duration::from_millis(700);

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
        let database = Database::Alone(postgres);
        World::start(seed, &mut rng, database.url(), REPLICAS, Some(database)).await.run(rng).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_two_pasts_without_a_word_when_failovers_lose_commits() {
    let (seed, mut rng) = seed();
    if let Some(pair) = Replicated::start(&mut rng).await {
        let database = Database::Replicated(pair);
        World::start(seed, &mut rng, database.url(), REPLICAS, Some(database)).await.run(rng).await;
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
    /// With the loss of the last commits.
    FailOver,
}

struct World {
    seed: u64,
    url: String,
    replicas: Vec<Shared<Replica>>,
    database: Option<Shared<Database>>,
    has_failovers: bool,
    failovers: Arc<Mutex<Vec<Failover>>>,
    clients: Clients,
    /// What was done to whom, and how often.
    faults: BTreeMap<Fault, usize>,
    _policy: tempfile::NamedTempFile,
}

impl World {
    async fn start(seed: u64, rng: &mut Rng, url: String, replicas: usize, database: Option<Database>) -> Self {
        println!("FAULTS_SEED={seed}");
        let policy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(policy.path(), POLICY).unwrap();
        let has_failovers = database.as_ref().is_some_and(Database::is_replicated);
        let mut addresses = Vec::new();
        let mut started = Vec::new();
        for number in 1..=replicas {
            let address = format!("127.0.0.1:{}", fixed_port(rng));
            // Where it matters what was committed last, one replica only has subscribers and looks once a second: most of
            // those that begin there are ahead of it.
            let is_reader = has_failovers && number == 1;
            let notify = !is_reader && (!has_failovers || rng.bool());
            let replica = Replica::new(address.clone(), &url, &policy.path().display().to_string(), notify);
            let replica = Arc::new(Mutex::new(replica));
            blocking(replica.clone().lock_owned().await, Replica::start).await;
            addresses.push(address);
            started.push(replica);
        }
        // They come to that one more often, too.
        let followed = if has_failovers { [&addresses[..1], &addresses].concat() } else { addresses.clone() };
        Self {
            seed,
            url,
            replicas: started,
            database: database.map(|database| Arc::new(Mutex::new(database))),
            has_failovers,
            failovers: Arc::default(),
            clients: Clients::new(if has_failovers { &addresses[1..] } else { &addresses }, &followed),
            faults: BTreeMap::new(),
            _policy: policy,
        }
    }

    async fn run(mut self, mut rng: Rng) {
        let seconds = std::env::var("FAULTS_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
        self.clients.start(self.has_failovers, &mut rng);
        let mut healing = JoinSet::new();
        let quarter = Duration::from_secs(seconds) / 4;
        for number in 1..=4 {
            self.do_faults(quarter, number == 4, &mut healing, &mut rng).await;
            self.clients.subscribe_with_snapshot(number, &mut rng);
            if number == 3 {
                self.clients.subscribe("late", View::default(), Start::Beginning, Habit::Steady, &mut rng);
            }
        }
        while let Some(healed) = healing.join_next().await {
            healed.unwrap();
        }
        let history = self.clients.finish(&mut rng).await;
        self.finish(history).await;
    }

    /// Faults for so long, and until each has happened once if this is the last time. What they leave behind heals by
    /// itself; where there is more than one process, later ones happen meanwhile.
    async fn do_faults(&mut self, span: Duration, is_last: bool, healing: &mut JoinSet<()>, rng: &mut Rng) {
        use Fault::{CutAll, CutSome, FailOver, Freeze, FreezeAndKill, Kill, StopDatabase, Terminate};
        let is_alone = self.database.is_none();
        let mut all = vec![Kill, Terminate, Freeze, FreezeAndKill];
        if !is_alone {
            all.extend([Kill, Freeze, StopDatabase, CutSome, CutAll]);
        }
        if self.has_failovers {
            all.extend([FailOver; 4]);
        }
        // A process that is alone is left alone at times: for a subscriber to fall behind there must be something to
        // fall behind of.
        let rest = if is_alone { 500..4_000 } else { 300..1_200 };
        let mut over = std::pin::pin!(pause(span));
        let mut is_over = false;
        loop {
            rng.shuffle(&mut all);
            for fault in all.clone() {
                // One that had no chance yet is not to wait for those that come back.
                if is_over && is_last && self.faults.contains_key(&fault) && !self.have_happened(&all) {
                    continue;
                }
                let wait = pause(Duration::from_millis(rng.u64(rest.clone())));
                tokio::select! {
                    () = &mut over, if !is_over => is_over = true,
                    () = wait => {}
                }
                if is_over && (!is_last || self.have_happened(&all)) {
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

    fn have_happened(&self, all: &[Fault]) -> bool {
        all.iter().all(|fault| self.faults.contains_key(fault))
    }

    /// Begins a fault, unless what it would happen to has not recovered from another one.
    fn happens(&self, fault: Fault, healing: &mut JoinSet<()>, rng: &mut Rng) -> bool {
        let away = Duration::from_millis(rng.u64(100..1_500));
        match fault {
            Fault::StopDatabase | Fault::CutSome | Fault::CutAll => {
                let Some(Ok(mut held)) = self.database.clone().map(Mutex::try_lock_owned) else { return false };
                let every = if fault == Fault::CutSome { rng.u32(2..4) } else { 1 };
                healing.spawn(async move {
                    if fault == Fault::StopDatabase {
                        let (held, ()) = blocking(held, |database| database.primary().stop()).await;
                        pause(away).await;
                        blocking(held, |database| database.primary().start()).await;
                    } else {
                        held.primary().cut(every).await;
                    }
                });
            }
            Fault::FailOver => {
                let Some(Ok(held)) = self.database.clone().map(Mutex::try_lock_owned) else { return false };
                healing.spawn(self.fail_over(held, rng));
            }
            Fault::Kill | Fault::Terminate | Fault::Freeze | Fault::FreezeAndKill => {
                let replica = rng.usize(..self.replicas.len());
                let Ok(mut held) = self.replicas[replica].clone().try_lock_owned() else { return false };
                // Now and then for longer than subscribers wait.
                let frozen = if rng.u8(..6) == 0 { away + Duration::from_secs(3) } else { away };
                let following = self.clients.following.clone();
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
}

impl World {
    /// Loses commits for a short while, then the primary. Nothing else happens to one of the replicas meanwhile, and mostly
    /// it stands still from before that until some time after it: it notices late, when there are as many new commits as
    /// were lost. Snapshots begin before, show some of what is lost, and are read to their end then.
    fn fail_over(&self, held: Held, rng: &mut Rng) -> impl Future<Output = ()> + Send + use<> {
        let millis = |from, to, rng: &mut Rng| Duration::from_millis(rng.u64(from..to));
        let (losing, reading, idle) = (millis(30, 600, rng), millis(100, 600, rng), millis(300, 2_500, rng));
        let replica = if rng.u8(..4) > 0 { 0 } else { rng.usize(..self.replicas.len()) };
        let is_frozen = rng.u8(..4) > 0;
        let replica = self.replicas[replica].clone();
        let (failovers, following) = (self.failovers.clone(), self.clients.following.clone());
        async move {
            let replica = replica.lock_owned().await;
            following.fails_over(Failing::Soon);
            pause(BEGINNING).await;
            let (held, cut) = lose(held, losing).await;
            following.fails_over(Failing::Losing);
            pause(reading).await;
            following.fails_over(Failing::Over);
            if is_frozen {
                following.freezes(&replica.address);
                replica.freeze();
            }
            let (held, failover) = fail_over(held, cut).await;
            let thaw = async {
                pause(idle).await;
                following.fails_over(Failing::Not);
                if is_frozen {
                    replica.thaw();
                    following.thaws(&replica.address);
                }
                drop(replica);
            };
            let (failover, ()) = tokio::join!(rebuild(held, failover), thaw);
            failovers.lock().await.push(failover);
        }
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
