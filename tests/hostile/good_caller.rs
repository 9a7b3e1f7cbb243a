//! Those who suffer: a party that reads its dispute and a platform that tells of its orders, at a gentle pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dispute_service::proto::v1;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use v1::dispute_service_client::DisputeServiceClient;
use v1::order_service_client::OrderServiceClient;

use crate::target::{order, seed};
use crate::wire::endpoint;

/// A read every so often, and a command half as often.
const PACE: Duration = Duration::from_millis(5);

/// What takes longer counts as an error.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A request of a caller by `--auth dev`.
pub fn from<T>(user: &str, scope: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-user-id", user.parse().unwrap());
    if let Some(scope) = scope {
        request.metadata_mut().insert("x-scope", scope.parse().unwrap());
    }
    request
}

/// A call, when it was due, and what came of it.
#[derive(Clone, Debug)]
struct Sample {
    is_command: bool,
    due: Instant,
    took: Duration,
    error: Option<String>,
}

/// Both of them, on a thread of their own.
pub struct GoodCaller {
    samples: Arc<Mutex<Vec<Sample>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How they fared within some time.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// The 99th percentile of a read in ms.
    pub read: f64,
    /// The 99th percentile of a command in ms.
    pub command: f64,
    /// What went wrong, how often.
    pub errors: BTreeMap<String, usize>,
    /// How many calls there were.
    pub calls: usize,
}

impl GoodCaller {
    /// Begins to call.
    pub fn start(address: &str) -> Self {
        let (samples, is_over) = (Arc::<Mutex<Vec<Sample>>>::default(), Arc::<AtomicBool>::default());
        let endpoint = endpoint(address);
        let thread = std::thread::spawn({
            let (samples, is_over) = (samples.clone(), is_over.clone());
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(call_on(endpoint, samples, is_over));
            }
        });
        Self { samples, is_over, thread: Some(thread) }
    }

    /// How they fared between these instants: by when a call was due, also if it ended later. Calls that have not ended
    /// yet count with the time that they have taken so far.
    pub fn window(&self, since: Instant, until: Instant) -> Window {
        let samples = self.samples.lock().unwrap();
        let samples: Vec<_> = samples.iter().filter(|sample| (since..until).contains(&sample.due)).collect();
        let p99 = |is_command: bool| {
            let of_kind = samples.iter().filter(|sample| sample.is_command == is_command);
            let mut took: Vec<_> = of_kind.map(|sample| sample.took).collect();
            took.sort();
            let index = (took.len() * 99).div_ceil(100).saturating_sub(1);
            took.get(index).map_or(f64::INFINITY, |took| took.as_secs_f64() * 1_000.0)
        };
        let mut errors = BTreeMap::new();
        for error in samples.iter().filter_map(|sample| sample.error.clone()) {
            *errors.entry(error).or_default() += 1;
        }
        Window { read: p99(false), command: p99(true), errors, calls: samples.len() }
    }
}

impl Drop for GoodCaller {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn call_on(endpoint: Endpoint, samples: Arc<Mutex<Vec<Sample>>>, is_over: Arc<AtomicBool>) {
    let channel = endpoint.connect().await.unwrap();
    let mut due = Instant::now();
    let mut turn = 0_usize;
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep_until(due.into()).await;
        let is_command = turn % 3 == 2;
        let (channel, samples) = (channel.clone(), samples.clone());
        tokio::spawn(async move {
            let index = {
                let mut samples = samples.lock().unwrap();
                let error = Some("no answer".to_owned());
                samples.push(Sample { is_command, due, took: TIMEOUT, error });
                samples.len() - 1
            };
            let called = async { if is_command { upsert(channel, turn).await } else { get(channel).await } };
            let result = tokio::time::timeout(TIMEOUT, called).await;
            let error = match result {
                Ok(Ok(())) => None,
                Ok(Err(status)) => Some(reason(&status)),
                Err(_) => Some("no answer".to_owned()),
            };
            samples.lock().unwrap()[index] = Sample { is_command, due, took: due.elapsed(), error };
        });
        due += PACE;
        turn += 1;
    }
}

async fn get(channel: Channel) -> Result<(), Status> {
    let request = v1::GetDisputeRequest { dispute_id: seed().dispute_id.clone() };
    DisputeServiceClient::new(channel).get_dispute(from("ann", None, request)).await.map(drop)
}

async fn upsert(channel: Channel, turn: usize) -> Result<(), Status> {
    let source_version = i64::try_from(turn).unwrap() + 2;
    let order = v1::Order { order_id: format!("o{}", turn % 100), source_version, ..order("ann") };
    let request = v1::UpsertOrderRequest { order: Some(order) };
    OrderServiceClient::new(channel).upsert_order(from("shop", Some("platform"), request)).await.map(drop)
}

/// What went wrong, in a word.
fn reason(status: &Status) -> String {
    let details = tonic_types::StatusExt::get_error_details(status);
    details
        .error_info()
        .map_or_else(|| format!("{:?}: {}", status.code(), status.message()), |info| info.reason.clone())
}

/// Whether somebody who was not connected yet is served within this time.
pub fn newcomer_is_served(address: &str, within: Duration) -> bool {
    let endpoint = endpoint(address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let served = async {
            loop {
                if let Ok(channel) = endpoint.connect().await
                    && get(channel).await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(within, served).await.is_ok()
    })
}
