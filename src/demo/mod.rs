//! `dispute-service demo`: a small marketplace in a temporary folder, in which something has happened already.
//!
//! It is the service itself, started with flags of its own ([`Config::for_demo`]). Before it listens, the story of
//! `story.toml` is played to it by the calls that clients make, so that nothing is in the database that the rules do not allow.

mod story;
mod teller;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use self::story::Story;
use self::teller::Teller;
use crate::clock::Clock;
use crate::config::{Config, WEB_ORIGIN};
use crate::domain::Timestamp;
use crate::server::{self, ServeError};

/// The rules of the demo, as an operator would write them.
const POLICY: &str = include_str!("policy.toml");

/// The clock stands at a full minute: that is easier to read, and to reckon with.
const MINUTE: Duration = Duration::from_secs(60);

/// Serves the demo on `listener` until `shutdown` completes, then removes everything that it has written. Its database,
/// callers, rules and clock are never those of `config`, see [`Config::for_demo`].
pub async fn run(config: &Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let folder = tempfile::Builder::new().prefix("dispute-service-demo-").tempdir()?;
    let served = serve(config, listener, shutdown, folder.path()).await;
    let removed = folder.close();
    served?;
    Ok(removed?)
}

async fn serve(
    config: &Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    folder: &Path,
) -> Result<(), ServeError> {
    let story = Story::read().map_err(ServeError::preparation)?;
    let end = full_minute(Clock::system().now());
    let policy = folder.join("policy.toml");
    fs::write(&policy, POLICY)?;
    let config = config.for_demo(&folder.join("disputes.db"), &policy, story.beginning(end));
    let address = listener.local_addr()?;
    let clock = server::clock(&config);
    server::run_prepared(&config, listener, clock, shutdown, async |service| {
        // Its two hundred calls would bury what a visitor is told. What goes wrong is in the error.
        let told = Teller::new(service, end).tell(&story).with_subscriber(NoSubscriber::default()).await;
        told.map_err(ServeError::preparation)?;
        Ok(welcome(&address.to_string(), end))
    })
    .await
}

/// The beginning of the minute.
fn full_minute(time: Timestamp) -> Timestamp {
    let minute = i64::try_from(MINUTE.as_micros()).unwrap_or(i64::MAX);
    let passed = time.micros().rem_euclid(minute);
    time.minus(Duration::from_micros(u64::try_from(passed).unwrap_or(0)))
}

/// What is said once it can be visited.
fn welcome(address: &str, end: Timestamp) -> String {
    format!(
        "
A small marketplace to try disputes in. Ctrl-C ends it, and everything in it is gone.
  people      buyers ana, ben, chloe; sellers studio-nord, lumen, kemi; support sam; the order system shop
  front end   examples/web/demo starts one too, at {WEB_ORIGIN}
  be ana      grpcurl -plaintext -H 'x-user-id: ana' {address} disputes.v1.OrderService/ListOrders
  be support  the same with -H 'x-user-id: sam' -H 'x-scope: support'
  time        stands still at {end}; move it by an hour:
              grpcurl -plaintext -H 'x-user-id: shop' -H 'x-scope: platform' -d '{{\"by\": \"3600s\"}}' \
{address} disputes.testing.v1.TestClockService/AdvanceClock"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_at_a_full_minute_that_has_begun() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(full_minute(at("2026-03-01T12:34:56.789Z")), at("2026-03-01T12:34:00Z"));
        assert_eq!(full_minute(at("2026-03-01T12:34:00Z")), at("2026-03-01T12:34:00Z"));
        assert_eq!(full_minute(at("1969-12-31T23:59:59.999999Z")), at("1969-12-31T23:59:00Z"));
    }

    #[test]
    fn a_visitor_is_told_who_to_be_and_how_time_passes_in_a_few_lines() {
        let said = welcome("127.0.0.1:50051", "2026-03-01T12:34:00Z".parse().unwrap());
        assert!(said.lines().count() < 12, "{said}");
        for part in ["Ctrl-C", "x-user-id: ana", "127.0.0.1:50051 disputes.v1.OrderService/ListOrders", "AdvanceClock"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains(r#"-d '{"by": "3600s"}' 127.0.0.1:50051"#), "{said}");
    }
}
