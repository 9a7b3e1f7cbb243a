//! PgBouncer, in front of the PostgreSQL of the tests.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Child;

use super::postgres;

/// A running PgBouncer, as it is by default but for what a test says. It ends when dropped: it reads our end of a pipe.
pub struct PgBouncer {
    script: Child,
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
* = TARGET
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $PORT
unix_socket_dir =
auth_type = trust
auth_file = $folder/users
SETTINGS
END
PATH="$PATH:/usr/sbin:/usr/local/sbin"
pgbouncer -q "$folder/pgbouncer.ini" >"$folder/log" 2>&1 </dev/null &
pooler=$!
tries=0
until "$PROGRAMS/pg_isready" -q -h 127.0.0.1 -p "$PORT"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then cat "$folder/log"; exit 1; fi
    sleep 0.05
done
echo ready
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
        let programs = postgres::programs()?;
        let server = url.split_once('@').unwrap().1.split_once('/').unwrap().0;
        let (host, server_port) = server.split_once(':').unwrap_or((server, "5432"));
        let target = format!("host={host} port={server_port}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = SCRIPT.replace("TARGET", &target).replace("SETTINGS", &settings.join("\n"));
        let mut script = postgres::run_script(&script, &programs, port);
        let mut said = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "PgBouncer did not start");
        Some(Self { script, port })
    }

    /// The URL of the database at `url`, through the pooler.
    pub fn url(&self, url: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, url.rsplit_once('/').unwrap().1)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
