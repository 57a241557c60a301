# The commands of CONTRIBUTING.md; `just --list` shows them.

# Everything a change must pass
ci:
    bash .ci/run

build:
    cargo build --release --locked

# Unit, golden, property, command line and kernel tests, in a namespace of their own, without root
test:
    unshare -rn cargo nextest run --locked

# The service under a real systemd in a container, as root
test-systemd: build
    tests/systemd/run

# Manifests and chart: what they promise, rendered
test-packaging:
    tests/packaging/run

# The container image, run as Kubernetes would, as root
test-container:
    tests/container/run

# The container image, such as `just image oci:srsync-image:0.1.0`
image DESTINATION:
    packaging/container/build {{DESTINATION}}

# Kubernetes: three nodes and a real API server, which is built once, as root
test-kube:
    tests/kube/server build
    cargo test --locked --no-run --test kube
    tests/kube/run

fmt:
    cargo fmt

lint:
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    cargo clippy --locked -- -D warnings

# Write the expected files of the golden cases; read them before you commit
bless:
    SRSYNC_BLESS=1 cargo nextest run --locked --test golden

# srsync against `ip -batch`, side by side
bench *ARGS: build
    benches/routes.py {{ARGS}}

# The properties with so many seeds, from FIRST on
properties SEEDS="10" FIRST="1":
    for seed in $(seq {{FIRST}} $(({{FIRST}} + {{SEEDS}} - 1))); do \
        echo "seed $seed"; PROPTEST_RNG_SEED=$seed cargo nextest run --locked -E 'binary(/properties/)' || exit 1; done

# Arbitrary input for `documents` or `plan`, for some seconds
fuzz TARGET SECONDS="60":
    fuzz/run {{TARGET}} {{SECONDS}}
