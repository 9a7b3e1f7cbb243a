# Each recipe is one line that also works by hand. `just` alone lists them.

[private]
default:
    @just --list

# Formats are right, and everything compiles without a warning.
check:
    cargo fmt --check && cargo clippy --all-targets -- -D warnings

# The rules and all other unit tests. No database server.
test-fast:
    cargo test --lib

# The rules alone: built without gRPC, an async runtime or a database.
test-rules:
    cargo test --no-default-features

# Everything, on SQLite and, if a server is installed, on PostgreSQL.
test:
    cargo test

# Prints src/domain/transitions.md afresh.
matrix:
    UPDATE_TRANSITIONS=1 cargo test --lib the_matrix_is_the_one_that_is_documented

# Processes and databases under faults, by the schedule of this seed.
faults SEED:
    FAULTS_SEED={{SEED}} cargo test --test integration faults::random:: -- --nocapture

# Opens a SQLite file for reading, with views that name the codes.
db FILE="disputes.db":
    sqlite3 -readonly -box -cmd '.read docs/views/sqlite.sql' {{FILE}}

# The scenarios: ratios, each measured in one run.
bench:
    cargo bench

# The documentation of the code.
docs:
    cargo doc --no-deps --open
