# The server in an image of its own: no shell tricks, no compiler, no root.
#
#   docker build -t matcher-discovery .
#
# Debian 12 on both sides, so that the binary meets the C library it was linked against.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Query data and migrations are in the tree: a build asks no database.
ENV SQLX_OFFLINE=true \
    CARGO_INCREMENTAL=0

# Everything we depend on, in a layer that lasts until Cargo.toml or Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it \
    && touch src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cp src/main.rs tests/it/main.rs \
    && cargo build --release --locked \
    && rm -r src tests

# The stand-ins above were compiled later than our sources were written; without the touch cargo would take them for current.
COPY . .
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin matcher-discovery


FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="matcher-discovery" \
      org.opencontainers.image.description="Where a tenant's Open-Finance aggregator connections live: sealed credentials, webhooks in, one ordered change feed out." \
      org.opencontainers.image.licenses="Apache-2.0"

# The vendors' certificates are verified against the system's roots, which the slim image leaves out.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/matcher-discovery /usr/local/bin/matcher-discovery

# A number, so that an orchestrator can see that it is not root. Nothing is written: the root file system may be read-only.
USER 10001:10001
EXPOSE 4018

# `healthcheck` asks /ready of the server in this container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["matcher-discovery", "healthcheck"]

ENTRYPOINT ["matcher-discovery"]
CMD ["serve"]
