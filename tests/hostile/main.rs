//! A small attacker against the real program: each attack beside good callers, bounded in time and in greed.
//!
//! With `HOSTILE_BINARY` naming a release build, memory and times are judged, and each attack adds a line to the file
//! that `HOSTILE_TABLE` names: attack | MiB resident before / at the highest / after | p99 in ms of good callers' reads,
//! commands before / during | back to normal after | their errors | what the attacker got. Without it a few attacks run
//! against the build at hand, for what the attacker gets. With `HOSTILE_TLS` these few speak TLS, as good callers do, to a
//! program with a throwaway certificate. An attacker has one thread, and at most a core of the machine.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it measures real time, and fails by panicking"
)]
#![allow(unreachable_pub, missing_docs, reason = "modules of one test")]

mod answers;
#[path = "../integration/support/authority.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod authority;
#[path = "../integration/support/binary.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod binary;
mod bodies;
mod commands;
mod connections;
mod floods;
mod frames;
mod good_caller;
mod headers;
mod hpack;
mod http1;
mod judge;
mod lists;
mod resets;
mod streams;
mod tally;
mod target;
mod wire;

/// Paths of RPCs.
mod path {
    pub const HEALTH: &str = "/grpc.health.v1.Health/Check";
    pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
    pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    pub const LIST_REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
    pub const LIST_DISPUTES: &str = "/disputes.v1.DisputeService/ListDisputes";
    pub const LIST_EVENTS: &str = "/disputes.v1.DisputeService/ListDisputeEvents";
    pub const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";
    pub const ASK: &str = "/disputes.v1.DisputeService/RequestOrderUpdate";
    pub const DECLINE: &str = "/disputes.v1.DisputeService/DeclineDispute";
    pub const LIST_ORDERS: &str = "/disputes.v1.OrderService/ListOrders";
    pub const UPSERT: &str = "/disputes.v1.OrderService/UpsertOrder";
    pub const BATCH: &str = "/disputes.v1.OrderService/BatchUpsertOrders";
}

/// Headers of identity by `--auth dev`.
mod who {
    pub const MALLORY: (&str, &str) = ("x-user-id", "mallory");
    pub const SHOP: (&str, &str) = ("x-user-id", "shop");
    pub const PLATFORM: (&str, &str) = ("x-scope", "platform");
}
