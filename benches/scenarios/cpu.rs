//! The processor time of processes and threads.

use std::collections::BTreeMap;

use super::table::{Table, Target, median};

/// The unit of the times in `/proc/PID/stat`, in seconds.
const TICK: f64 = 0.01;

/// Processor time in seconds: of a process, and of its threads by name.
pub(crate) struct Usage {
    pub(crate) total: f64,
    threads: BTreeMap<String, f64>,
}

impl Usage {
    /// What a process has used since it started. Threads that have ended count in the total alone.
    pub(crate) fn of(process: u32) -> Self {
        let mut threads = BTreeMap::new();
        let folder = format!("/proc/{process}/task");
        for thread in std::fs::read_dir(folder).expect("the process runs").flatten() {
            // A thread can end between one line and the next.
            let read = |file: &str| std::fs::read_to_string(thread.path().join(file)).ok();
            let Some((name, times)) = read("comm").zip(read("schedstat")) else { continue };
            let nanoseconds = times.split(' ').next().and_then(|time| time.parse::<f64>().ok()).expect("a time");
            let name = name.trim_end().trim_end_matches(|end: char| end.is_ascii_digit() || end == '-').to_owned();
            *threads.entry(name).or_insert(0.0) += nanoseconds / 1e9;
        }
        Self { total: total(process), threads }
    }

    /// What was used since `before`, in microseconds for each of so many operations.
    pub(crate) fn per(&self, operations: usize, before: &Self) -> Self {
        let each = |now: f64, before: f64| (now - before).max(0.0) * 1e6 / operations as f64;
        let was = |name: &String| before.threads.get(name).copied().unwrap_or_default();
        let threads = self.threads.iter().map(|(name, time)| (name.clone(), each(*time, was(name)))).collect();
        Self { total: each(self.total, before.total), threads }
    }
}

/// Processor time of a process so far, in seconds.
fn total(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().expect("the name ends");
    // utime and stime, the 14th and the 15th of all fields.
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks") * TICK).sum()
}

/// Processor time of this thread, in seconds.
pub(crate) fn of_this_thread() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The totals of these.
pub(crate) fn totals(rounds: &[Usage]) -> Vec<f64> {
    rounds.iter().map(|usage| usage.total).collect()
}

/// Adds what an operation cost the server: in all, beside the limit's if there is one, and in the threads that had most of it.
pub(crate) fn report(
    table: &mut Table,
    scenario: &'static str,
    operation: &str,
    rounds: &[Usage],
    limit: Option<&[f64]>,
) {
    let totals = totals(rounds);
    let figure = format!("server CPU us per {operation}");
    match limit {
        Some(limit) => table.compare(scenario, &figure, &totals, limit, Target::None),
        None => table.single(scenario, &figure, &totals, Target::None),
    }
    let names: std::collections::BTreeSet<&String> = rounds.iter().flat_map(|usage| usage.threads.keys()).collect();
    for name in names {
        let each: Vec<f64> = rounds.iter().map(|usage| usage.threads.get(name).copied().unwrap_or_default()).collect();
        if median(&each) > median(&totals) / 20.0 {
            table.single(scenario, &format!("  of it in {name}"), &each, Target::None);
        }
    }
}
