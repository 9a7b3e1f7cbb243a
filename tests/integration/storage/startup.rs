//! A PostgreSQL that cannot be used is named in words when the program starts: what is the cause, and what to do.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::binary::Binary;
use crate::support::launcher::{Cluster, Options};
use crate::support::{database, postgres};

/// What is never repeated.
const SECRET: &str = "hunter2";

/// What the program says, in one line, before it ends.
async fn said(url: &str, flags: &[&str]) -> String {
    let mut arguments = ["--listen", "127.0.0.1:0", "--database-url", url].map(str::to_owned).to_vec();
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let started = tokio::task::spawn_blocking(move || {
        Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "error").map(|_| ())
    });
    let said = started.await.unwrap().expect_err("it cannot start");
    assert!(!said.contains(SECRET) && !said.contains("private-name"), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(lines[0].starts_with("dispute-service: "), "{said}");
    said
}

/// Something that answers every client with an error of PostgreSQL, or with something else.
async fn fake(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut asked = [0; 1_024];
                let _ = client.read(&mut asked).await;
                let _ = client.write_all(&answer).await;
                let _ = client.shutdown().await;
            });
        }
    });
    format!("postgres://private-name:{SECRET}@{address}/private-name?sslmode=disable")
}

/// A fatal error as the server sends it.
fn fatal(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Mprivate-name of the server\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [b"E", &length.to_be_bytes()[..], fields.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_server_answers_is_told_in_words() {
    let nobody = "postgres://private-name:hunter2@127.0.0.1:1/private-name".to_owned();
    let nowhere = "postgres://private-name:hunter2@no.such.host.invalid/private-name".to_owned();
    let cases = [
        (nobody, "the connection was refused"),
        (nowhere, "cannot be resolved by DNS"),
        ("postgres://private-name:hunter2@host:port/private-name".to_owned(), "its URL is not valid"),
        (fake(fatal("28P01")).await, "rejects the password"),
        (fake(fatal("28000")).await, "is not a role"),
        (fake(fatal("3D000")).await, "database does not exist"),
        (fake(fatal("42501")).await, "may not connect to this database"),
        (fake(fatal("53300")).await, "has no connection left"),
        (fake(fatal("57P03")).await, "does not accept connections yet"),
        (fake(fatal("53100")).await, "disk is full"),
        (fake(fatal("08P01")).await, "a pooler in front of it"),
        (fake(Vec::new()).await, "closed the connection while it was being set up"),
        (fake(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await, "check that it is PostgreSQL"),
    ];
    for (url, words) in cases {
        let said = said(&url, &[]).await;
        assert!(said.contains(words), "{words}: {said}");
    }
}

/// A server with passwords, with or without TLS.
struct Guarded(Cluster);

/// Who may come, and from where.
const GUARD: &str = r#"
cat >pg_hba.conf <<END
local all all trust
host all locked 127.0.0.1/32 scram-sha-256
host all rejected 127.0.0.1/32 reject
hostssl all encrypted 127.0.0.1/32 trust
hostnossl all encrypted 127.0.0.1/32 reject
host data all 127.0.0.1/32 trust
host postgres all 127.0.0.1/32 trust
host missing all 127.0.0.1/32 trust
END
"#;

/// Of nobody whom anybody knows.
const CERTIFICATE: &str = "
openssl req -new -x509 -days 2 -nodes -subj /CN=elsewhere -addext basicConstraints=critical,CA:FALSE \
    -keyout server.key -out server.crt
chmod 600 server.key
";

/// Who is there.
const ROLES: &str = "
CREATE ROLE locked LOGIN PASSWORD 'right';
CREATE ROLE sleeper;
CREATE DATABASE data;
CREATE ROLE guest LOGIN;
ALTER ROLE guest CONNECTION LIMIT 2;
";

impl Guarded {
    fn start(has_tls: bool) -> Option<Self> {
        let (certificate, ssl) = if has_tls { (CERTIFICATE, "ssl=on") } else { ("", "ssl=off") };
        let options = Options {
            initdb: "--no-sync",
            prepare: &[GUARD, certificate].concat(),
            sql: ROLES,
            settings: &["fsync=off", "autovacuum=off", ssl],
            ..Options::default()
        };
        Cluster::start(&options).map(Self)
    }

    fn url(&self, user: &str, database: &str, options: &str) -> String {
        format!("postgres://{user}:{SECRET}@127.0.0.1:{}/{database}?{options}", self.0.port())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_real_server_answers_is_told_in_words() {
    let Some(server) = Guarded::start(false) else { return };
    let cases = [
        (server.url("locked", "data", ""), "rejects the password"),
        (server.url("nobody", "data", ""), "is not a role"),
        (server.url("sleeper", "data", ""), "is not a role"),
        (server.url("rejected", "data", ""), "pg_hba.conf"),
        (server.url("postgres", "template1", ""), "pg_hba.conf"),
        (server.url("postgres", "missing", ""), "database does not exist"),
        (server.url("postgres", "data", "sslmode=require"), "does not offer TLS"),
        (server.url("postgres", "data", "sslmode=verify-full&sslrootcert=/no/such/file"), "TLS"),
        (server.url("guest", "data", ""), "could open 2 database connections, but at least 4 are needed"),
    ];
    for (url, words) in cases {
        let said = said(&url, &[]).await;
        assert!(said.contains(words), "{words}: {said}");
    }
    // Nor may just anybody make tables, which is so by itself since PostgreSQL 15.
    let no_tables = "ALTER ROLE guest CONNECTION LIMIT 20; REVOKE CREATE ON SCHEMA public FROM PUBLIC";
    database::execute(&server.url("postgres", "data", ""), no_tables).await;
    let said = said(&server.url("guest", "data", ""), &[]).await;
    assert!(said.contains("may not change the schema"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_with_tls_answers_is_told_in_words() {
    if !std::path::Path::new("/usr/bin/openssl").exists() {
        return postgres::skip("TLS with PostgreSQL: openssl is not installed.");
    }
    let Some(server) = Guarded::start(true) else { return };
    let cases = [
        (server.url("encrypted", "data", "sslmode=disable"), "TLS"),
        (server.url("postgres", "data", "sslmode=verify-full"), "unknown authority"),
    ];
    for (url, words) in cases {
        let said = said(&url, &[]).await;
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_somebody_else_are_left_alone_and_named() {
    let Some(url) = postgres::new_database().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    for url in [url, file] {
        database::execute(&url, "CREATE TABLE orders (number int)").await;
        let said = said(&url, &[]).await;
        assert!(said.contains("a table orders"), "{said}");
        assert_eq!(database::number(&url, "SELECT count(*) FROM orders").await, 0);
    }
}
