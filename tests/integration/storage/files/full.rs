//! A disk that is full: nothing that was acknowledged is lost, and everything goes on by itself.

use std::time::Duration;

use dispute_service::clock::pause;
use tonic::Code;

use super::*;
use crate::support::callers;
use crate::support::health::Health;

/// The size of the disk.
const KIB: u32 = 3 * 1_024;

fn away() -> Facts {
    callers::refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_commands_and_afterwards_everything_goes_on() {
    let Some(disk) = Tmpfs::new(KIB) else { return };
    let (server, channel) = serve(disk.path()).await;
    let mut health = Health::of(channel.clone()).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        acknowledged.extend(open_many(&channel, &format!("before{round}-"), 5).await);
        assert!(health.is_serving());
        let filler = disk.fill();
        // What still finds room is acknowledged, and kept.
        let mut refused = 0;
        for number in 0..1_000 {
            match open(&channel, &format!("full{round}-{number}")).await {
                Ok(dispute) => acknowledged.push(dispute),
                Err(facts) => {
                    assert_eq!(facts, away());
                    refused += 1;
                }
            }
            if refused == 5 {
                break;
            }
        }
        assert_eq!(refused, 5);
        health.turns_not_serving().await;
        // Commands that fail for want of room do not let it flap.
        for number in 0..5 {
            assert_eq!(open(&channel, &format!("later{round}-{number}")).await.unwrap_err(), away());
            pause(Duration::from_millis(200)).await;
            assert!(!health.is_serving());
        }
        // Reads go on.
        Party::new(channel.clone(), "ann", None).dispute(&acknowledged[0]).await;
        std::fs::remove_file(filler).unwrap();
        health.turns_serving().await;
    }
    acknowledged.extend(open_many(&channel, "after", 5).await);
    stop(server);
    assert_eq!(names(disk.path()), ["disputes.db"]);
    assert_eq!(disputes_in(disk.path()).await, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_noticed_while_nobody_asks_for_anything() {
    let Some(disk) = Tmpfs::new(KIB) else { return };
    let (server, channel) = serve(disk.path()).await;
    let mut health = Health::of(channel.clone()).await;
    assert!(health.is_serving());
    for _ in 0..2 {
        let filler = disk.fill();
        health.turns_not_serving().await;
        std::fs::remove_file(filler).unwrap();
        health.turns_serving().await;
    }
    open(&channel, "o1").await.unwrap();
    let (is_well, log) = server.terminate();
    assert!(is_well);
    // Each change is told once.
    assert_eq!(log.matches("cannot be written").count(), 2, "{log}");
    assert_eq!(log.matches("can be written again").count(), 2, "{log}");
    assert!(log.contains("full"), "{log}");
}
