# The commands people use. `just` lists them.

_:
    @just --list

# Build and test everything that needs no peers.
test:
    WHARFINGER_PEERS=off cargo test --workspace

# Fuzz one target until it fails or is stopped: just fuzz cef -max_total_time=60
fuzz NAME *OPTIONS:
    .ci/fuzz --build --bin {{NAME}}
    .ci/fuzz {{NAME}} {{OPTIONS}}

# See every fuzz target find a mistake that was made on purpose.
fuzz-planted *NAMES:
    .ci/fuzz-planted {{NAMES}}

# Measure the formats and the journal.
bench:
    cargo bench --package wharfinger-formats
    cargo bench --package wharfinger

# What continuous integration runs: as root, on Debian 12.
ci:
    .ci/run
