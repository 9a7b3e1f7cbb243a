# Runs a PostgreSQL until standard input ends, then removes it. Says where its folder is; from then on it does what it
# reads, an order a line, and says when it is done. Settings that come later win over earlier ones.
#
# PROGRAMS          the folder with initdb, pg_ctl and postgres; a standby needs pg_basebackup and psql, too
# PORT              where it listens, on 127.0.0.1 without a password
# FOLDER            where it lives; a new folder if that is empty
# INITDB            flags for initdb
# INITDB_IF_KNOWN   flags for initdb where it knows them
# PREPARE           shell commands that run in the folder of a new cluster before it starts
# SQL               statements that run before it starts, one a line
# SETTINGS          flags for postgres
set -eu
folder=${FOLDER:-$(mktemp -d "${TMPDIR:-/tmp}/dispute-postgres-XXXXXX")}
control() { "$PROGRAMS/pg_ctl" --silent -D "$folder/data" -w -t 120 "$@" >>"$folder/control" 2>&1; }
finish() {
    status=$?
    control -m immediate stop || true
    [ "$status" = 0 ] || tail -n 30 "$folder/control" "$folder/log" >&2 2>/dev/null || true
    [ -n "$FOLDER" ] || rm -rf "$folder"
}
init() {
    "$PROGRAMS/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --encoding=UTF8 $INITDB "$@" \
        >>"$folder/control" 2>&1
}
start() {
    control -l "$folder/log" -o "-p $PORT -k $folder -c listen_addresses=127.0.0.1 $SETTINGS" start
}
create() {
    init $INITDB_IF_KNOWN || init
    (cd "$folder/data" && eval "$PREPARE") >>"$folder/control" 2>&1
    [ -z "$SQL" ] || printf '%s\n' "$SQL" | "$PROGRAMS/postgres" --single -D "$folder/data" -c exit_on_error=on postgres \
        >>"$folder/control" 2>&1
}
# A copy does without fsync: it would first sync every file that it has, for seconds.
copy() {
    rm -rf "$folder/data"
    "$PROGRAMS/pg_basebackup" --pgdata="$folder/data" --write-recovery-conf --checkpoint=fast --no-sync \
        --host=127.0.0.1 --port="$1" --username=postgres >>"$folder/control" 2>&1
    SETTINGS="$SETTINGS -c fsync=off"
}
follow() {
    echo "primary_conninfo = 'host=127.0.0.1 port=$1 user=postgres'" >>"$folder/data/postgresql.auto.conf"
    touch "$folder/data/standby.signal"
}
receivers() {
    "$PROGRAMS/psql" -h 127.0.0.1 -p "$PORT" -U postgres -Atc "SELECT count(*) FROM pg_stat_wal_receiver"
}
disconnect() {
    echo "primary_conninfo = ''" >>"$folder/data/postgresql.auto.conf"
    control reload
    until [ "$(receivers)" = 0 ]; do sleep 0.01; done
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
echo "$folder"
while read -r order port; do
    case $order in
        create) create; start ;;
        copy) copy "$port"; start ;;
        stop) control -m immediate stop ;;
        finish) control -m fast stop ;;
        start) start ;;
        follow) follow "$port"; start ;;
        disconnect) disconnect ;;
        promote) control promote ;;
    esac
    echo "$order: done"
done
