#!/usr/bin/env bash
# Stops all services; what they hold stays in their volumes. `--volumes` deletes that too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

volumes=()
case "${1-}" in
  "") ;;
  --volumes) volumes=(--volumes) ;;
  *) echo "usage: scripts/stop_services.sh [--volumes]" >&2; exit 2 ;;
esac

docker compose --profile job --profile spark down ${volumes[@]+"${volumes[@]}"}
