//! The two ways to send calls. A closed loop sends a call when another has returned, and measures throughput. An open loop
//! sends at a fixed rate, whatever returns, and counts latencies from the instant at which a call was due: so a server that
//! stalls does not hide the calls that it kept from being sent.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dispute_service_test_features::hdrhistogram::Histogram;

/// A round ends after this, even if not all of its calls were made.
const LONGEST_ROUND: Duration = Duration::from_secs(6);

/// Times, in nanoseconds, with three digits that matter.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        Self(Histogram::new(3).expect("three digits are possible"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.record(u64::try_from(time.as_nanos()).expect("no centuries")).expect("it grows by itself");
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("it grows by itself");
    }

    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.0.len()).expect("it fits")
    }

    /// The time, in milliseconds, that so many of 100 did not exceed.
    pub(crate) fn percentile(&self, of_100: f64) -> f64 {
        self.0.value_at_percentile(of_100) as f64 / 1e6
    }
}

/// What came of one round of a closed loop.
pub(crate) struct Round {
    pub(crate) calls: usize,
    seconds: f64,
    pub(crate) latencies: Times,
    /// The number after that of the last call.
    pub(crate) end: usize,
}

impl Round {
    pub(crate) fn per_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }
}

/// Makes the calls with these numbers, always so many in flight. `worker` gives each of them something that makes calls.
pub(crate) async fn closed_loop<C, F>(in_flight: usize, numbers: Range<usize>, worker: impl Fn(usize) -> C) -> Round
where
    C: FnMut(usize) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let started = Instant::now();
    let workers = (0..in_flight).map(|index| {
        let (mut call, next, end) = (worker(index), next.clone(), numbers.end);
        tokio::spawn(async move {
            let mut latencies = Times::new();
            while started.elapsed() < LONGEST_ROUND {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                let sent = Instant::now();
                call(number).await;
                latencies.record(sent.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Times::new();
    for worker in workers.collect::<Vec<_>>() {
        latencies.add(&worker.await.expect("a worker"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let end = numbers.end.min(next.load(Ordering::Relaxed));
    Round { calls: latencies.count(), seconds, latencies, end }
}

/// Makes the calls with these numbers, so many a second. Returns their latencies and results, once all have returned.
pub(crate) async fn open_loop<F>(
    per_second: f64,
    numbers: Range<usize>,
    call: impl Fn(usize) -> F,
) -> (Times, Vec<F::Output>)
where
    F: Future<Output: Send> + Send + 'static,
{
    let (due, mut calls) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own: the timers of the runtime have milliseconds.
    let count = numbers.len();
    let clock = std::thread::spawn(move || {
        let started = Instant::now();
        for index in 0..count {
            let at = started + Duration::from_secs_f64(index as f64 / per_second);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            due.send(at).expect("somebody waits for it");
        }
    });
    let mut running = Vec::with_capacity(count);
    for number in numbers {
        let at = calls.recv().await.expect("one for each number");
        let call = call(number);
        running.push(tokio::spawn(async move {
            let result = call.await;
            (at.elapsed(), result)
        }));
    }
    clock.join().expect("the clock goes");
    let (mut latencies, mut results) = (Times::new(), Vec::with_capacity(count));
    for call in running {
        let (latency, result) = call.await.expect("a call");
        latencies.record(latency);
        results.push(result);
    }
    (latencies, results)
}
