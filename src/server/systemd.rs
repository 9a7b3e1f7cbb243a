//! What systemd hears if it started this process as a service of `Type=notify`: that it is ready, whether it can do its
//! work, that it is alive, and that it stops. Without systemd nothing of this does anything.

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::clock::{RealInstant, pause_until, real_instant_after};

/// How many times the service tells that it is alive within the time that systemd waits for it (`WatchdogSec`).
const PINGS_PER_TIMEOUT: u32 = 3;

/// Reports that the service is ready, then what it can do whenever that changes, and that it is alive as often as systemd
/// asks.
///
/// It is alive if its threads run. A database that cannot be reached is no reason to restart it.
pub(super) async fn report(mut is_serving: watch::Receiver<bool>) {
    tell(&[NotifyState::Ready, status(*is_serving.borrow_and_update())]);
    let ping_interval = sd_notify::watchdog_enabled().map(|timeout| timeout / PINGS_PER_TIMEOUT);
    // Whatever else happens meanwhile does not put it off.
    let mut next_ping = ping_interval.and_then(real_instant_after);
    loop {
        tokio::select! {
            changed = is_serving.changed() => {
                if changed.is_err() {
                    return;
                }
                tell(&[status(*is_serving.borrow_and_update())]);
            }
            () = until(next_ping) => {
                tell(&[NotifyState::Watchdog]);
                next_ping = ping_interval.and_then(real_instant_after);
            }
        }
    }
}

/// Reports that the service drains.
pub(super) fn report_stop() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

async fn until(instant: Option<RealInstant>) {
    match instant {
        Some(instant) => pause_until(instant).await,
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
