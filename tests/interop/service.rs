//! The real program on a database of its own, which outlives it.

use dispute_service_test_features::rusqlite;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::binary::{Binary, program};
use crate::callers::Party;
use crate::health::Health;

/// A service with `--auth dev`.
pub struct Service {
    /// The running program.
    pub binary: Binary,
    folder: TempDir,
}

impl Service {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { binary: launch(&folder, "127.0.0.1:0"), folder }
    }

    /// Nobody can write to its database as long as this is there.
    pub fn lock_database(&self) -> rusqlite::Connection {
        let lock = rusqlite::Connection::open(self.folder.path().join("disputes.db")).unwrap();
        lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
        lock
    }

    /// Its health.
    pub async fn health(&self) -> Health {
        Health::of(self.channel().await).await
    }

    /// What clients call.
    pub fn url(&self) -> String {
        format!("http://{}", self.binary.address)
    }

    /// Kills the program, and starts it again where it was.
    pub fn restart(self) -> Self {
        let Self { binary, folder } = self;
        let address = binary.address.clone();
        binary.kill();
        Self { binary: launch(&folder, &address), folder }
    }

    /// A user.
    pub async fn user(&self, id: &str) -> Party {
        Party::new(self.channel().await, id, None)
    }

    /// The marketplace.
    pub async fn platform(&self) -> Party {
        Party::new(self.channel().await, "shop", Some("platform"))
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap()
    }
}

fn launch(folder: &TempDir, address: &str) -> Binary {
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let arguments = ["--listen", address, "--database-url", &url].map(str::to_owned);
    Binary::launch(&program(), &arguments, "warn").unwrap_or_else(|log| panic!("the program ended:\n{log}"))
}
