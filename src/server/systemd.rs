//! What systemd hears if it started this process as a service of `Type=notify`: that it is ready, whether it can do its
//! work, that it is alive, and that it stops. Without systemd nothing of this does anything.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::clock::pause;

/// How many times the service tells that it is alive within the time that systemd waits for it (`WatchdogSec`).
const PINGS_PER_TIMEOUT: u32 = 3;

/// Reports that the service is ready, then what it can do whenever that changes, and that it is alive as often as systemd
/// asks.
///
/// It is alive if its threads take turns. A database that cannot be reached is no reason to restart it.
pub(super) async fn report(mut is_serving: watch::Receiver<bool>) {
    tell(&[NotifyState::Ready, status(*is_serving.borrow_and_update())]);
    let timeout = sd_notify::watchdog_enabled();
    loop {
        tokio::select! {
            changed = is_serving.changed() => {
                if changed.is_err() {
                    return;
                }
                tell(&[status(*is_serving.borrow_and_update())]);
            }
            () = until_next_ping(timeout) => tell(&[NotifyState::Watchdog]),
        }
    }
}

/// Reports that the service drains.
pub(super) fn report_stop() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

async fn until_next_ping(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => pause(timeout / PINGS_PER_TIMEOUT).await,
        None => std::future::pending().await,
    }
}

/// What `systemctl status` shows.
fn status(is_serving: bool) -> NotifyState<'static> {
    NotifyState::Status(if is_serving { "serving" } else { "not serving; its log says why" })
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}
