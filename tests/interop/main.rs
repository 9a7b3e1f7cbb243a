//! The example clients, each in its language, against the real program: over networks that lose answers, fall silent and
//! break, and over servers that are killed.
//!
//! `examples/build` makes them. One that is not there is skipped, with a message. `TEST_CLIENTS` names the languages that are
//! tested, and must be there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]
#![allow(unreachable_pub, missing_docs, reason = "modules of one test")]

#[path = "../integration/support/authority.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod authority;
#[path = "../integration/support/binary.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod binary;
#[path = "../integration/support/callers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod callers;
mod client;
#[path = "../integration/support/health.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod health;
#[path = "../integration/support/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod issuer;
#[path = "../integration/support/messages.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod messages;
mod network;
mod offering;
mod secured;
mod service;
mod watching;

/// Runs each test once for each language.
macro_rules! in_every_language {
    ($($name:ident),+ $(,)?) => {
        crate::in_language!(python, $($name),+);
        crate::in_language!(typescript, $($name),+);
        crate::in_language!(go, $($name),+);
        crate::in_language!(java, $($name),+);
    };
}

/// Runs each test with the client in this language, if it is there.
macro_rules! in_language {
    ($language:ident, $($name:ident),+) => {
        mod $language {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(client) = crate::client::Client::find(stringify!($language)) {
                        super::$name(client).await;
                    }
                }
            )+
        }
    };
}

pub(crate) use {in_every_language, in_language};
