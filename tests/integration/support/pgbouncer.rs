//! PgBouncer, in front of the PostgreSQL of the tests.

use std::net::TcpStream;
use std::time::Duration;

use super::launcher::{Script, free_port};
use super::postgres;

/// A running PgBouncer, as it is by default but for what a test says. It ends when dropped.
pub struct PgBouncer {
    _script: Script,
    port: u16,
}

/// Any user may come without a password, to any database of the one server.
const SCRIPT: &str = r#"
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-bouncer-XXXXXX")
trap 'rm -rf "$folder"' EXIT
echo '"postgres" ""' >"$folder/users"
cat >"$folder/pgbouncer.ini" <<END
[databases]
* = $TARGET
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
unix_socket_dir =
auth_type = trust
auth_file = $folder/users
$SETTINGS
END
PATH="$PATH:/usr/sbin:/usr/local/sbin"
pgbouncer -q "$folder/pgbouncer.ini" >&2 </dev/null &
pooler=$!
cat >/dev/null || true
kill -TERM "$pooler"
wait "$pooler" || true
"#;

impl PgBouncer {
    /// One in front of the server of the database at `url`, if there is a PgBouncer here.
    pub fn start(url: &str, settings: &[&str]) -> Option<Self> {
        let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
        if !folders.iter().any(|folder| std::path::Path::new(folder).join("pgbouncer").exists()) {
            assert!(
                std::env::var_os("REQUIRE_POSTGRES").is_none(),
                "REQUIRE_POSTGRES is set, but there is no PgBouncer"
            );
            postgres::skip("what needs PgBouncer, which is not installed.");
            return None;
        }
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0;
        let (host, server_port) = server.split_once(':').unwrap_or((server, "5432"));
        let target = format!("host={host} port={server_port}");
        let port = free_port();
        let variables = [("TARGET", &*target), ("PORT", &port.to_string()), ("SETTINGS", &settings.join("\n"))];
        let script = Script::start(SCRIPT, &variables);
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let is_ready = (0..500).any(|_| {
            let listens = listens();
            if !listens {
                std::thread::sleep(Duration::from_millis(10));
            }
            listens
        });
        assert!(is_ready, "PgBouncer did not start");
        Some(Self { _script: script, port })
    }

    /// The URL of the database at `url`, through the pooler.
    pub fn url(&self, url: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, url.rsplit_once('/').unwrap().1)
    }
}
