# syntax=docker/dockerfile:1
# turnstile in a small image: `docker build -t turnstile .`; what runs by default is the original's stream job.

FROM rust:1.94.0-slim-bookworm AS build
# Versions of packages are those of the base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential cmake libssl-dev pkg-config zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The caches outlive a build; the binary must be copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    cargo build --release --locked --package turnstile --bin turnstile \
 && install -D target/release/turnstile /out/turnstile \
 && strip /out/turnstile

FROM debian:12.12-slim
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /data --create-home turnstile
COPY --from=build /out/turnstile /usr/local/bin/turnstile
USER 10001:10001
# The lake of the default command; a volume keeps it.
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
# Whether the default command's pipeline has committed of late, or has nothing to read. Another command needs another check, or none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["turnstile", "status", "--lake", "file:/data/lake", "--pipeline", "mta-turnstile", "--max-age", "5m"]
ENTRYPOINT ["turnstile"]
CMD ["stream", "--topic", "mta-turnstile", "--bootstrap", "kafka:19092", "--lake", "file:/data/lake"]
