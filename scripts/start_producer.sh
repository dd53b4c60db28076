#!/usr/bin/env bash
# Sends a reading of a test station every ten seconds, until Ctrl-C. Flags of `turnstile produce` may follow.
# TOPIC names the topic. TURNSTILE names a local binary to run instead of the image; it reads
# ~/.kafka/docker-kafka.properties.
set -euo pipefail

topic="${TOPIC:-mta-turnstile}"
if [[ -n "${TURNSTILE-}" ]]; then
  exec "$TURNSTILE" produce --topic "$topic" "$@"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec docker compose run --rm --no-deps turnstile produce --topic "$topic" --bootstrap kafka:19092 "$@"
