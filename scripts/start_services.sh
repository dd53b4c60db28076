#!/usr/bin/env bash
# Starts Kafka and Prefect, waits until they are ready, and creates the topic. `--spark`: Spark with its Connect server too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profiles=()
case "${1-}" in
  "") ;;
  --spark) profiles=(--profile spark) ;;
  *) echo "usage: scripts/start_services.sh [--spark]" >&2; exit 2 ;;
esac
topic="${TOPIC:-mta-turnstile}"

docker compose ${profiles[@]+"${profiles[@]}"} up --detach --wait
docker compose exec -T kafka /opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:19092 \
  --create --if-not-exists --topic "$topic" --partitions "${PARTITIONS:-1}" --replication-factor 1
echo "Kafka: localhost:9092, topic $topic; Prefect: http://localhost:4200"
