//! A1-jwt-tls: what it costs that callers are known and nobody listens in.

use std::collections::HashMap;
use std::path::Path;

use dispute_service::clock::Clock;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::authority::Authority;
use super::issuer::{AUDIENCE, ISSUER, Issuer, claims, with};
use super::load::{Callers, Load, buyers, party};
use super::server::{Server, sqlite_url};
use super::table::{Table, Target};
use super::writes::in_turns;

pub(crate) const ABOUT: &str =
    "A1 with tokens and TLS : with headers that are believed, without TLS; 5,000 callers on 8 connections";

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = ["secure.db", "plain.db"].map(|name| folder.path().join(name));
    let secure = secured(folder.path(), &files[0]).await;
    let plain = Server::on_file(&files[1]);
    let plain_load = Load::on(&[plain.address()], 8, 256).await;
    // In the first round, which does not count, each token is verified; later ones know it.
    in_turns(table, "A1-jwt-tls", [secure, (plain, plain_load)], &files, Target::AtLeast(0.85)).await;
}

/// A service that takes tokens of one issuer over TLS, and everybody who has one.
async fn secured(folder: &Path, file: &Path) -> (Server, Load) {
    let (authority, issuer) = (Authority::new("Benchmarks"), Issuer::ed25519());
    authority.server(&["localhost"]).write(folder);
    let path = |name: &str| folder.join(name).display().to_string();
    let [cert, key, public] = ["cert.pem", "key.pem", "issuer.pem"].map(path);
    std::fs::write(&public, issuer.public_pem()).expect("there is room");
    let server = Server::with_flags(
        &sqlite_url(file),
        &[
            &["--auth", "jwt", "--jwt-public-key", &public, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE][..],
            &["--tls-cert", &cert, "--tls-key", &key],
        ]
        .concat(),
    );
    let now = Clock::system().now();
    let token = |user: &str| {
        let claims = claims(user, now);
        let claims = if user == "shop" { with(claims, "scope", "platform") } else { claims };
        format!("Bearer {}", issuer.token(&claims)).parse().expect("it is ASCII")
    };
    let users = (0..2 * buyers()).map(party).chain(["shop".to_owned()]);
    let tokens: HashMap<_, _> = users.map(|user| (user.clone(), token(&user))).collect();
    let mut channels = Vec::new();
    for _ in 0..8 {
        channels.push(connect(server.address(), &authority).await);
    }
    let load = Load::over(channels, 256).known_by(Callers::with_tokens(tokens));
    (server, load)
}

async fn connect(address: &str, authority: &Authority) -> Channel {
    let (_, port) = address.rsplit_once(':').expect("an address has a port");
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).expect("an address");
    endpoint.tls_config(tls).expect("a certificate").connect().await.expect("a connection")
}
