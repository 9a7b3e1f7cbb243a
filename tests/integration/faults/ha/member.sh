# Runs a member of the cluster until standard input ends, then removes it. Says where its folder is; from then on it does
# what it reads, an order a line, and says when it is done.
#
# COMMAND   what to run, in the folder
# BIN       the folder with the programs of PostgreSQL
# PORT      where PostgreSQL listens when it runs alone, on 127.0.0.1
set -u
folder=$(mktemp -d "${TMPDIR:-/tmp}/dispute-ha-XXXXXX")
cd "$folder"
mkdir settings
pid=
# The server in the folder; its file may be left over, and the number be another's by now.
server() {
    server=$(head -n 1 data/postmaster.pid 2>/dev/null) || return 1
    [ "$(readlink "/proc/$server/cwd")" = "$folder/data" ] && echo "$server"
}
run() {
    setsid sh -c "exec $COMMAND" >>log 2>&1 &
    pid=$!
}
# All at once, as when a machine loses its power.
kill_all() {
    server=$(server) || server=
    [ -z "$server" ] || kill -STOP "$server"
    [ -z "$pid" ] || pkill -KILL -s "$pid"
    [ -z "$server" ] || { pkill -KILL -P "$server"; kill -KILL "$server"; }
    pid=
    [ -z "$server" ] || while [ -d "/proc/$server" ]; do sleep 0.01; done
}
alone() {
    "$BIN/pg_ctl" -s -D data -l alone.log -w -t 60 \
        -o "-p $PORT -k $folder -c listen_addresses=127.0.0.1 -c synchronous_standby_names=" start >>alone.log 2>&1
}
finish() {
    kill_all 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
echo "$folder"
while read -r order; do
    case $order in
        run) run ;;
        kill) kill_all 2>/dev/null ;;
        freeze) kill -STOP "$pid" ;;
        alone) alone ;;
        stop) "$BIN/pg_ctl" -s -D data -m fast -w stop ;;
        *) echo "what is $order?" >&2 ;;
    esac && echo "$order: done" || echo "$order: failed"
done
