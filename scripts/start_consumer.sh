#!/usr/bin/env bash
# Runs the stream job until Ctrl-C: five-minute windows, published to a lake. Flags of `turnstile stream` may follow,
# such as --duration "1 hour" --slide "5 minutes".
# TOPIC names the topic. TURNSTILE names a local binary to run instead of the image; it reads
# ~/.kafka/docker-kafka.properties and writes to ./turnstile-data/lake.
set -euo pipefail

topic="${TOPIC:-mta-turnstile}"
job=(stream --topic "$topic" --group turnstile --client turnstile)
if [[ -n "${TURNSTILE-}" ]]; then
  exec "$TURNSTILE" "${job[@]}" "$@"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec docker compose run --rm turnstile "${job[@]}" --bootstrap kafka:19092 --lake file:/data/lake "$@"
