# Lists the recipes.
default:
    @just --list --unsorted

# Builds and runs the demo: embedded broker, producer and pipeline in one process.
demo *flags:
    cargo demo {{flags}}

# Runs every test, with the servers that they need.
test *flags:
    cargo xtask test {{flags}}

# Runs the tests that need no server.
quick *filter:
    cargo xtask test --quick -- {{filter}}

# Checks formatting and runs clippy.
lint:
    cargo xtask lint

# Formats all code.
fmt:
    cargo fmt --all

# Starts the test servers and prints their addresses, until Ctrl-C.
servers:
    cargo xtask servers

# Runs the benchmarks, or the ones named: engine, e2e, latency, broker, produce, ready, failover, warehouse.
bench *which:
    cargo xtask bench {{which}}

# Checks licences and bans of dependencies (needs cargo-deny; deny.toml has the reasons).
deny:
    cargo deny check licenses bans sources
