//! What the system tells of this process.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rustix::process::{Resource, getrlimit};
use tokio::runtime::Handle;

use crate::domain::Timestamp;
use crate::metrics::{Samples, sampled};

/// Adds what can be told; elsewhere than on Linux that is less.
pub(super) fn sample(samples: &mut Samples, started: Timestamp) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
        samples.add(&sampled::PROCESS_CPU, &[], micros as f64 / 1e6);
    }
    samples.add(&sampled::PROCESS_START, &[], started.micros() as f64 / 1e6);
    // Without the descriptor that lists them.
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        samples.add(&sampled::PROCESS_FDS, &[], descriptors.count().saturating_sub(1) as f64);
    }
    let most = getrlimit(Resource::Nofile).current.map_or(f64::INFINITY, |most| most as f64);
    samples.add(&sampled::PROCESS_MAX_FDS, &[], most);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.split_whitespace().next()?.parse::<f64>().ok())
    };
    for (declaration, name, unit) in [
        (&sampled::PROCESS_RESIDENT, "VmRSS", 1024.0),
        (&sampled::PROCESS_VIRTUAL, "VmSize", 1024.0),
        (&sampled::PROCESS_THREADS, "Threads", 1.0),
    ] {
        if let Some(value) = field(name) {
            samples.add(declaration, &[], value * unit);
        }
    }
    sample_runtime(samples);
}

fn sample_runtime(samples: &mut Samples) {
    let runtime = Handle::current().metrics();
    samples.add(&sampled::RUNTIME_WORKERS, &[], runtime.num_workers() as f64);
    samples.add(&sampled::RUNTIME_TASKS, &[], runtime.num_alive_tasks() as f64);
    samples.add(&sampled::RUNTIME_QUEUE, &[], runtime.global_queue_depth() as f64);
    for worker in 0..runtime.num_workers() {
        let busy: Duration = runtime.worker_total_busy_duration(worker);
        samples.add(&sampled::RUNTIME_BUSY, &[&worker.to_string()], busy.as_secs_f64());
    }
}
