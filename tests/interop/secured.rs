//! Over TLS, by tokens that are replaced before they expire.

use dispute_service::clock::Clock;
use dispute_service::proto::v1;
use serde_json::json;
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::authority::Authority;
use crate::binary::{Binary, program};
use crate::callers::{Party, facts};
use crate::client::{Client, Running};
use crate::issuer::{AUDIENCE, ISSUER, Issuer};
use crate::messages::{order, update};

crate::in_every_language!(
    an_offer_and_a_watch_over_tls_by_token,
    a_watch_goes_on_with_a_new_token_when_the_old_one_has_expired,
    a_token_or_a_certificate_that_is_not_to_be_trusted_ends_it,
);

/// A service with a certificate of an authority that nobody knows, which trusts the tokens of an issuer.
struct Secured {
    binary: Binary,
    issuer: Issuer,
    authority: Authority,
    folder: TempDir,
}

impl Secured {
    fn start() -> Self {
        let (authority, issuer) = (Authority::new("Tests"), Issuer::ed25519());
        let folder = tempfile::tempdir().unwrap();
        authority.server(&["localhost", "127.0.0.1"]).write(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.path().join("issuer.pem"), issuer.public_pem()).unwrap();
        let path = |file: &str| folder.path().join(file).display().to_string();
        let url = format!("sqlite://{}?mode=rwc", path("disputes.db"));
        let (cert, key, public) = (path("cert.pem"), path("key.pem"), path("issuer.pem"));
        let base = ["--listen", "127.0.0.1:0", "--database-url", &url, "--tls-cert", &cert, "--tls-key", &key];
        let jwt = ["--auth", "jwt", "--jwt-public-key", &public, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
        let arguments: Vec<_> = base.iter().chain(&jwt).map(|argument| (*argument).to_owned()).collect();
        let binary = Binary::launch(&program(), &arguments, "warn").unwrap();
        Self { binary, issuer, authority, folder }
    }

    /// A token that is good for so many seconds.
    fn token(&self, user: &str, scope: &str, seconds: i64) -> String {
        let now = Clock::system().now().micros() / 1_000_000;
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": user, "scope": scope, "exp": now + seconds});
        self.issuer.token(&claims)
    }

    /// A file with this token. It is replaced at once, as whatever rotates tokens does.
    fn write(&self, token: &str) -> String {
        let (file, new) = (self.folder.path().join("token"), self.folder.path().join("token.new"));
        std::fs::write(&new, format!("{token}\n")).unwrap();
        std::fs::rename(&new, &file).unwrap();
        file.display().to_string()
    }

    fn start_client(&self, client: Client, token_file: &str, arguments: &[&str]) -> Running {
        let url = format!("https://{}", self.binary.address);
        let ca = self.folder.path().join("ca.pem").display().to_string();
        let variables = [("DISPUTES_URL", &*url), ("DISPUTES_CA", &ca), ("DISPUTES_TOKEN_FILE", token_file)];
        client.start(&variables, arguments)
    }

    async fn party(&self, user: &str, scope: &str) -> Party {
        self.party_with(&self.token(user, scope, 3_600)).await
    }

    async fn party_with(&self, token: &str) -> Party {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.authority.pem()));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.binary.address)).unwrap();
        let channel: Channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        Party::with_token(channel, token)
    }
}

async fn an_offer_and_a_watch_over_tls_by_token(client: Client) {
    let service = Secured::start();
    service.party("shop", "platform").await.upsert(order("o1")).await;
    let token_file = service.write(&service.token("bob", "", 3_600));
    let mut watch = service.start_client(client, &token_file, &["watch"]);
    watch.says("watching").await;
    let ended = service.start_client(client, &token_file, &["offer", "o1", "12.50", "Over TLS."]).ends().await;
    assert_eq!((ended.code, ended.out.len()), (Some(0), 1), "{ended:?}");
    let printed = watch.prints(1).await;
    let dispute = ended.out[0].split(' ').next().unwrap();
    assert_eq!(printed, [format!("OPENED o1 {dispute} 1")]);
}

async fn a_watch_goes_on_with_a_new_token_when_the_old_one_has_expired(client: Client) {
    let service = Secured::start();
    // Long enough to be valid yet when the client has started, wherever that takes a while.
    const SECONDS: i64 = 15;
    let token_file = service.write(&service.token("ann", "", SECONDS));
    let mut watch = service.start_client(client, &token_file, &["watch"]);
    watch.says("watching").await;
    // The old token is good for a while yet, but not for what its successor may see.
    service.write(&service.token("bea", "", 3_600));
    // A stream with a token that expires no earlier has ended: so has the client's.
    let mut other = service.party_with(&service.token("ann", "", SECONDS)).await.watch(Default::default()).await;
    let (_, status) = other.rest().await;
    assert_eq!(facts(&status).reason, "CREDENTIAL_EXPIRED");
    let order = v1::Order { buyer_id: "bea".to_owned(), ..order("o1") };
    service.party("shop", "platform").await.upsert(order).await;
    service.party("bea", "").await.ask(update("o1")).await.unwrap();
    let printed = watch.prints(1).await;
    assert!(printed[0].starts_with("OPENED o1 "), "{printed:?}");
}

async fn a_token_or_a_certificate_that_is_not_to_be_trusted_ends_it(client: Client) {
    let service = Secured::start();
    let forged =
        Issuer::ed25519().token(&json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": 4_000_000_000_i64}));
    let token_file = service.write(&forged);
    for arguments in [&["watch"][..], &["offer", "o1", "12.50", "By nobody."]] {
        let ended = service.start_client(client, &token_file, arguments).ends().await;
        assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{ended:?}");
        assert!(ended.err[0].contains(" CREDENTIAL_INVALID: "), "{ended:?}");
    }
    let token_file = service.write(&service.token("ann", "", 3_600));
    // Its authority is not among those that machines know.
    let url = format!("https://{}", service.binary.address);
    let variables = [("DISPUTES_URL", url.as_str()), ("DISPUTES_TOKEN_FILE", &token_file)];
    let ended = client.start(&variables, &["offer", "o1", "12.50", "To nobody."]).ends().await;
    assert_eq!((ended.code, &ended.out[..]), (Some(1), &[][..]), "{ended:?}");
    assert!(!ended.err.is_empty());
}
