#!/usr/bin/env bash
# Stops all services and keeps their volumes. `--volumes` deletes those too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

volumes=()
case "${1-}" in
  "") ;;
  --volumes) volumes=(--volumes) ;;
  *) echo "usage: scripts/stop_services.sh [--volumes]" >&2; exit 2 ;;
esac

docker compose --profile job --profile spark down ${volumes[@]+"${volumes[@]}"}
