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

# Tries failovers of a Patroni cluster, for HA_SECONDS in each mode; HA_BINARY names a release.
ha:
    cargo test --test integration faults::ha:: -- --ignored --nocapture --test-threads=1

# Opens a SQLite file read-only, with views that name the codes.
db FILE="disputes.db":
    sqlite3 -readonly -box -cmd '.read docs/views/sqlite.sql' {{FILE}}

# Runs the benchmarks: ratios, each measured in one run.
bench:
    cargo bench

# Runs the PostgreSQL half of the tests on PostgreSQL 13 to 18, or on the versions that are named.
postgres-matrix *VERSIONS:
    tests/postgres-matrix {{VERSIONS}}

# Checks how the service is packaged: deploy/README.md names the tools.
packages:
    cargo build --release --bin dispute-service && deploy/check

# Builds the Debian package, into target/debian.
deb:
    cargo auditable build --release --locked --bin dispute-service && cargo deb --no-build --no-strip

# Builds the image.
image:
    docker build --tag dispute-service .

# Lists what the program is made of, in dispute-service.cdx.json.
sbom:
    cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --override-filename dispute-service.cdx

# Starts a marketplace to click through, and its front end.
demo:
    examples/web/demo

# Runs the front end's tests in a browser, with the release build.
test-web:
    cargo build --release --bin dispute-service && cd examples/web && npm ci && npm test

# Builds the example clients and tests them over networks and servers that break.
test-clients *LANGUAGES="python typescript go java":
    examples/build {{LANGUAGES}} && TEST_CLIENTS="{{LANGUAGES}}" cargo test --test interop

# Opens the code's documentation in a browser.
docs:
    cargo doc --no-deps --open
