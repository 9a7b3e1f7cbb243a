//! Who the caller is: tokens and their keys, and pages that would call for somebody.

mod authorization;
mod binary;
mod keys;
mod origin;
mod tokens;

use std::path::{Path, PathBuf};

use dispute_service::proto::v1;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, claims, with};
use crate::support::service::Service;

/// A service that recognises callers by tokens.
struct Guarded {
    service: Service,
    /// The file with the keys.
    file: PathBuf,
    _folder: TempDir,
}

impl Guarded {
    /// With the one public key of this issuer.
    async fn by(issuer: &Issuer) -> Self {
        Self::new("--jwt-public-key", &issuer.public_pem(), &[]).await
    }

    /// With what this flag names, and these flags beside it.
    async fn new(flag: &str, content: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        write(&file, content);
        let mut service = Service::on_sqlite().await;
        let jwt = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, flag, file.to_str().unwrap()];
        service.restart_with(&[&jwt, flags].concat()).await;
        Self { service, file, _folder: folder }
    }

    /// What a good token of this user says.
    fn claims(&self, user: &str) -> Value {
        claims(user, self.service.now())
    }

    /// A good token of a service of the marketplace.
    fn platform(&self, issuer: &Issuer) -> Party {
        self.party(&issuer.token(&with(self.claims("shop"), "scope", "platform")))
    }

    /// Somebody who brings this token.
    fn party(&self, token: &str) -> Party {
        Party::with_token(self.service.channel(), token)
    }

    /// What becomes of a call with this token.
    async fn call(&self, token: &str) -> Result<(), Status> {
        read(self.party(token)).await
    }
}

/// A file that only its owner can read.
fn write(file: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, content).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn jwks(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// A read that everybody may do who has said who it is.
async fn read(mut party: Party) -> Result<(), Status> {
    party.disputes.list_disputes(v1::ListDisputesRequest::default()).await.map(drop)
}

fn unauthenticated(reason: &str) -> Facts {
    refusal(Code::Unauthenticated, reason, &[])
}

/// The facts of a refusal, which repeats nothing of the token.
#[track_caller]
fn refused(result: Result<(), Status>, token: &str) -> Facts {
    let status = result.expect_err(token);
    for part in token.split(['.', ' ']).filter(|part| part.len() > 8) {
        assert!(!status.message().contains(part), "{}", status.message());
    }
    facts(&status)
}
