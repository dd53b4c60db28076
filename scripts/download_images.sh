#!/usr/bin/env bash
# Downloads the images of compose.yaml and builds turnstile's own. `--spark`: Spark's too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profiles=()
case "${1-}" in
  "") ;;
  --spark) profiles=(--profile spark) ;;
  *) echo "usage: scripts/download_images.sh [--spark]" >&2; exit 2 ;;
esac

docker compose ${profiles[@]+"${profiles[@]}"} pull
docker compose build --pull turnstile
