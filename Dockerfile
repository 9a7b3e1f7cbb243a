# The service in an image of its own: the program, the libraries it needs, and nothing to log in with.
#
#   docker build --tag dispute-service .
#
# Both base images can be replaced, by those of a mirror for instance.
ARG BUILD_IMAGE=docker.io/library/rust:1-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
# Writes the list of crates into the program, for scanners.
RUN cargo install --locked --root /tools cargo-auditable@0.7.7
COPY . .
RUN PATH=/tools/bin:$PATH cargo auditable build --release --locked --bin dispute-service \
    && install -D target/release/dispute-service /image/usr/bin/dispute-service \
    && install -D --mode 644 LICENSE /image/usr/share/doc/dispute-service/LICENSE \
    && mkdir --mode 700 /state

FROM ${RUNTIME_IMAGE}
COPY --from=build /image/ /
COPY --from=build --chown=65532:65532 /state /var/lib/dispute-service
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Where the default database is, on SQLite. Nothing else is written to: the root can be read-only.
WORKDIR /var/lib/dispute-service
VOLUME /var/lib/dispute-service
# Other addresses than loopback are refused until `--auth jwt` says who may call.
ENV DISPUTES_LISTEN=0.0.0.0:50051
EXPOSE 50051
ENTRYPOINT ["/usr/bin/dispute-service"]
