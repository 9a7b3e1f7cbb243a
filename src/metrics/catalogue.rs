//! The metrics.

use std::sync::LazyLock;

use prometheus_client::registry::Registry;

use super::instruments::{Count, RpcSeconds, Seconds, Sizes};
use super::{Declaration, Format, Kind};

/// What this process counts.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics::new();
    metrics.begin();
    metrics
});

/// The classes of the database's errors.
const ERRORS: [&str; 8] =
    ["unavailable", "busy", "timed_out", "lock_timeout", "read_only", "stale", "conflict", "failed"];

impl Metrics {
    /// What has not happened yet is zero.
    fn begin(&self) {
        self.refusals.begin([["INTERNAL"], ["OVERLOADED"], ["STORAGE_UNAVAILABLE"]]);
        self.submissions.begin([["command"], ["import"], ["disclosure"], ["time"]]);
        self.batches_failed.begin(ERRORS.map(|error| [error]));
        self.database_errors.begin(ERRORS.map(|error| [error]));
        self.queue_refused.begin([["command"], ["import"], ["disclosure"], ["time"]]);
        self.deadlines_passed.begin([["done"], ["busy"], ["left"], ["failed"]]);
        self.streams_started.begin([["now"], ["snapshot"], ["beginning"], ["token"]]);
        self.stream_messages.begin([[]]);
        self.events_sent.begin([[]]);
        self.log_rollbacks.begin([[]]);
        self.pruned.begin([["events"], ["requests"], ["audit"]]);
        self.connections_closed.begin([["misconduct"], ["not_read"]]);
        self.spans.begin([["ended"], ["exported"], ["failed"]]);
    }
}

/// Declares what is counted where it happens.
macro_rules! counted {
    ($($field:ident: $Instrument:ident = $name:literal [$($label:literal),*] $help:literal, alert: $alert:literal;)*) => {
        /// What is counted where it happens.
        #[derive(Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $Instrument<{ <[&str]>::len(&[$($label),*]) }>,)*
        }

        impl Metrics {
            /// What is declared of each, in the order of `docs/metrics.md`.
            pub const DECLARATIONS: &[Declaration] = &[$(Declaration {
                name: $name,
                kind: $Instrument::<{ <[&str]>::len(&[$($label),*]) }>::KIND,
                labels: &[$($label),*],
                help: $help,
                alert: $alert,
            }),*];

            fn new() -> Self {
                let mut declarations = Self::DECLARATIONS.iter().copied();
                let mut next = || declarations.next().unwrap_or(NONE);
                Self { $($field: $Instrument::new(next())),* }
            }

            pub(super) fn register(&self, registry: &mut Registry, format: Format) {
                $(self.$field.register(registry, format);)*
            }
        }
    };
}

/// Declares what is sampled.
macro_rules! sampled {
    ($($name:ident: $Kind:ident = $metric:literal [$($label:literal),*] $help:literal, alert: $alert:literal;)*) => {
        /// What is sampled when somebody asks.
        pub mod sampled {
            use super::{Declaration, Kind};

            $(#[doc = $help] pub static $name: Declaration = Declaration {
                name: $metric,
                kind: Kind::$Kind,
                labels: &[$($label),*],
                help: $help,
                alert: $alert,
            };)*
        }

        /// What is sampled when somebody asks, in the order of `docs/metrics.md`.
        pub static SAMPLED: &[&Declaration] = &[$(&sampled::$name),*];
    };
}

/// There are as many declarations as instruments.
const NONE: Declaration = Declaration { name: "", kind: Kind::Gauge, labels: &[], help: "", alert: "" };

counted! {
    rpc: RpcSeconds = "rpc_server_call_duration_seconds"
        ["rpc_system_name", "rpc_method", "rpc_status_code", "error_type"]
        "How long calls took, from their headers to the answer or the end of the stream; rpc_method is _OTHER for a method that does not exist, and error_type the ErrorReason, or the code without one",
        alert: "the 99th percentile of commands above 1 s for 10 minutes";
    refusals: Count = "disputes_refusals_total" ["reason"]
        "Errors that clients were given, by ErrorReason: refused tokens, exceeded quotas and rates, and broken rules among them",
        alert: "any increase of INTERNAL; rate of OVERLOADED or STORAGE_UNAVAILABLE for 5 minutes";
    submissions: Count = "disputes_submissions_total" ["kind"]
        "What was judged and committed: command (refused ones too), import, disclosure, time (a page of expiries and reminders)",
        alert: "";
    batch_submissions: Sizes = "disputes_batch_submissions" []
        "How many submissions a committed transaction carried, with those that it put off", alert: "";
    batch_seconds: Seconds = "disputes_batch_duration_seconds" ["phase"]
        "How long a batch took to be loaded and judged (judge), and to be written and committed (write)",
        alert: "the 99th percentile of write above 1 s for 10 minutes: the disk or the database is slow";
    batches_failed: Count = "disputes_batches_failed_total" ["error"]
        "Failed attempts to commit a batch, reruns too, by the class of the error; after unavailable it may have been committed",
        alert: "rate of unavailable, read_only or failed above 0 for 5 minutes";
    queue_refused: Count = "disputes_queue_refused_total" ["kind"]
        "Submissions that found the queue full or gave way to another caller: their callers were told OVERLOADED",
        alert: "rate above 0 for 5 minutes";
    database_errors: Count = "disputes_database_errors_total" ["error"]
        "Errors that the database or its driver gave, by class; conflict and stale are tried again, lock_timeout only where a new order waits for another transaction",
        alert: "rate of failed above 0; of unavailable for 5 minutes";
    deadlines_passed: Count = "disputes_deadlines_passed_total" ["outcome"]
        "What came of due deadlines and reminders: done (expiries and reminders recorded); orders that were busy (locked by another transaction), left (a newer release is needed) or failed, both tried again after a minute",
        alert: "rate of failed above 0";
    streams_started: Count = "disputes_streams_started_total" ["start"]
        "Event streams by where they began: now, snapshot, beginning, or token: a client that came back, or that has listed before",
        alert: "rate of token far above the usual: streams break, or clients start over";
    stream_messages: Count = "disputes_stream_messages_total" []
        "Messages sent to subscribers, heartbeats among them", alert: "";
    events_sent: Count = "disputes_events_sent_total" []
        "Events sent to subscribers", alert: "";
    log_rollbacks: Count = "disputes_log_rollbacks_total" []
        "How often the event log was found rolled back or replaced by another one",
        alert: "any increase: acknowledged commands may be lost";
    pruned: Count = "disputes_pruned_total" ["what"]
        "Rows that retention removed: events, requests or audit", alert: "";
    connections_closed: Count = "disputes_connections_closed_total" ["why"]
        "Connections that the service closed for misconduct (misconduct) or because the client no longer read (not_read)",
        alert: "";
    spans: Count = "disputes_trace_spans_total" ["outcome"]
        "Spans that were recorded (ended), that the collector took (exported), and that it did not take (failed); the difference waits, or was lost because too many waited or the process ended",
        alert: "";
}

sampled! {
    BUILD_INFO: Gauge = "disputes_build_info" ["version", "database"]
        "Always 1; the version of the service and the kind of its database", alert: "";
    SERVING: Gauge = "disputes_serving" []
        "Whether health says SERVING: the database can be read and written, and the clock is certain",
        alert: "0 for 1 minute";
    CLOCK_CERTAIN: Gauge = "disputes_clock_certain" []
        "Whether the clock is certain enough to judge by", alert: "0 for 1 minute";
    QUEUE_ORDERS: Gauge = "disputes_queue_orders" ["kind"]
        "How many orders the submissions in the queue concern: command, import, time, busy (locked by another transaction), alone (an order that another transaction has inserted)",
        alert: "busy above 0 for 5 minutes: a session holds locks";
    BATCH_LIMIT: Gauge = "disputes_batch_orders_limit" []
        "How many orders the next batch may touch, from the time that the last ones took", alert: "";
    DISPUTES_PENDING: Gauge = "disputes_pending" []
        "Disputes that wait for an answer, up to 100,000; counted at most every 30 seconds", alert: "";
    DISPUTES_OVERDUE: Gauge = "disputes_overdue" []
        "Disputes whose deadline has passed and that have not expired yet, up to 100,000; counted at most every 30 seconds", alert: "";
    DEADLINE_LAG: Gauge = "disputes_deadline_lag_seconds" []
        "For how long the earliest due deadline or reminder has been due, also of a dispute that cannot be expired; looked up at most every 30 seconds", alert: "above 60 for 5 minutes";
    FIRST_SEQ: Gauge = "disputes_log_first_seq" []
        "The number of the oldest event that is kept", alert: "";
    LAST_SEQ: Gauge = "disputes_log_last_seq" []
        "The number of the last event", alert: "";
    FEED_SEQ: Gauge = "disputes_feed_seq" []
        "The number of the last event that this replica has read",
        alert: "behind what disputes_log_last_seq was a minute ago";
    TAIL_CACHE_EVENTS: Gauge = "disputes_tail_cache_events" []
        "Events kept in memory for subscribers", alert: "";
    TAIL_CACHE_BYTES: Gauge = "disputes_tail_cache_bytes" []
        "The size of these events", alert: "";
    SUBSCRIBERS: Gauge = "disputes_subscribers" []
        "Open event streams", alert: "";
    SUBSCRIBER_LAG: Gauge = "disputes_subscriber_lag_events" []
        "How far the slowest subscriber is behind, in sequence numbers of the log",
        alert: "growing for an hour: a subscriber does not read";
    SUBSCRIBERS_BEHIND: Gauge = "disputes_subscribers_behind" []
        "Subscribers that have not been sent everything yet", alert: "";
    DATABASE_CONNECTIONS: Gauge = "disputes_database_connections" ["pool"]
        "Connections in the pools, by what they are for; not those of NOTIFY, nor those for batches and single reads on SQLite", alert: "";
    DATABASE_CONNECTIONS_IN_USE: Gauge = "disputes_database_connections_in_use" ["pool"]
        "Connections in the pools that are in use", alert: "";
    CONNECTIONS: Gauge = "disputes_connections" []
        "Open connections of clients", alert: "above 90 % of --max-connections";
    CONNECTIONS_REFUSED: Counter = "disputes_connections_refused_total" []
        "Connections refused because there were too many", alert: "any increase";
    CONNECTIONS_REPLACED: Counter = "disputes_connections_replaced_total" []
        "Connections closed to make room for new ones", alert: "";
    CORRUPT_ROWS: Counter = "disputes_corrupt_rows_total" []
        "Distinct corrupt rows found since the start, up to 10,000", alert: "any increase";
    LOG_LINES_LOST: Counter = "disputes_log_lines_lost_total" []
        "Lines of the log that stderr did not accept", alert: "any increase";
    CERTIFICATE_EXPIRY: Gauge = "disputes_certificate_expiry_timestamp_seconds" []
        "When the certificate of the port expires; absent without TLS", alert: "less than 7 days ahead";
    PROCESS_CPU: Counter = "process_cpu_seconds_total" []
        "Time on the processor", alert: "";
    PROCESS_RESIDENT: Gauge = "process_resident_memory_bytes" []
        "Memory in use", alert: "";
    PROCESS_VIRTUAL: Gauge = "process_virtual_memory_bytes" []
        "Memory reserved", alert: "";
    PROCESS_FDS: Gauge = "process_open_fds" []
        "Open file descriptors", alert: "above 90 % of process_max_fds";
    PROCESS_MAX_FDS: Gauge = "process_max_fds" []
        "The most file descriptors that the process may have", alert: "";
    PROCESS_THREADS: Gauge = "process_threads" []
        "Threads", alert: "";
    PROCESS_START: Gauge = "process_start_time_seconds" []
        "When the process started", alert: "it changes often: the service restarts";
    RUNTIME_WORKERS: Gauge = "tokio_workers" []
        "Threads of the runtime", alert: "";
    RUNTIME_TASKS: Gauge = "tokio_alive_tasks" []
        "Tasks of the runtime", alert: "";
    RUNTIME_QUEUE: Gauge = "tokio_global_queue_depth" []
        "Tasks in the global queue of the runtime; those in the queue of one thread are not counted", alert: "above 1000 for 5 minutes: the processor is saturated";
    RUNTIME_BUSY: Counter = "tokio_busy_seconds_total" ["worker"]
        "Time for which a thread of the runtime had work", alert: "";
}
