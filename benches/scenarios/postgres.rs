//! A throwaway PostgreSQL that keeps its promises: every commit is on disk.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a cluster with two databases until its standard input ends. Checkpoints are rare, so that they do not fall
/// into the turn of one side; everything else that matters is as it comes.
const CLUSTER: &str = r#"
set -eu
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$programs" ] || programs=$(dirname "$(command -v initdb)")
PATH="$programs:$PATH"
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-bench-XXXXXX")
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
initdb --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 >"$folder/log" 2>&1
postgres -D "$folder/data" -p "$PORT" -k "$folder" -c listen_addresses=127.0.0.1 -c fsync=on -c synchronous_commit=on \
    -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=4GB -c log_lock_waits=on >>"$folder/log" 2>&1 </dev/null &
server=$!
tries=0
until pg_isready -q -h 127.0.0.1 -p "$PORT"; do
    tries=$((tries + 1))
    [ "$tries" -le 300 ] || exit 1
    sleep 0.1
done
for database in one two; do createdb -h 127.0.0.1 -p "$PORT" -U postgres "$database"; done
echo "$folder"
cat >/dev/null || true
kill -INT "$server"
wait "$server" || true
"#;

/// Ends, and is removed, when dropped.
pub(crate) struct Cluster {
    script: Child,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// `None` if there is no PostgreSQL here.
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        // PostgreSQL refuses to run as root.
        let is_root = Command::new("id").arg("-u").output().expect("id runs").stdout == b"0\n";
        let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
        if is_root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        let mut script = command
            .args(["-c", CLUSTER])
            .current_dir("/")
            .env("PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut folder = String::new();
        BufReader::new(script.stdout.take()?).read_line(&mut folder).ok()?;
        let folder = Path::new(folder.strip_suffix('\n')?).to_owned();
        Some(Self { script, folder, port })
    }

    /// The URL of a database, `one` or `two`.
    pub(crate) fn database(&self, name: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// What the database has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).expect("the cluster logs")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}
