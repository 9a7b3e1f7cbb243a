# Each recipe is one line that also works by hand. `just` alone lists them.

[private]
default:
    @just --list

# Checks formatting, and that everything compiles without warnings.
check:
    cargo fmt --check && cargo clippy --all-targets -- -D warnings

# Runs the rules' and all other unit tests; needs no database server.
test-fast:
    cargo test --lib

# Runs the rules' tests alone, built without gRPC, an async runtime or a database.
test-rules:
    cargo test --no-default-features

# Runs everything, on SQLite and, if a server is installed, on PostgreSQL.
test:
    cargo test

# Regenerates src/domain/transitions.md.
matrix:
    UPDATE_TRANSITIONS=1 cargo test --lib the_matrix_is_the_one_that_is_documented

# Runs the fault tests with the schedule of this seed.
faults SEED:
    FAULTS_SEED={{SEED}} cargo test --test integration faults::random:: -- --nocapture

# Opens a SQLite file read-only, with views that name the codes.
db FILE="disputes.db":
    sqlite3 -readonly -box -cmd '.read docs/views/sqlite.sql' {{FILE}}

# Runs the benchmarks: ratios, each measured in one run.
bench:
    cargo bench

# Opens the code's documentation in a browser.
docs:
    cargo doc --no-deps --open
