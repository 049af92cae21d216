#!/bin/sh
# Runs the tests of lapwing-quant as an aarch64 program under qemu, on three models of CPU: with everything (max), with
# dotprod but no i8mm (neoverse-n1), with plain NEON only (cortex-a72); then whole models (tests/isa_models.rs)
# on the first of them, which has every table. The quantizers, which are the same on all, are tested on the first only.
#
#     scripts/test-neon.sh [arguments of cargo test, for lapwing-quant]
#     LAPWING_NEON_CPUS="cortex-a72" LAPWING_NEON_MODELS=no scripts/test-neon.sh
#
# Needs qemu-user-static and rustup's target aarch64-unknown-linux-musl; no cross compiler. What is missing is installed
# where this runs as root on Debian or Ubuntu, and named where not. Each CPU model must have the kernel tables that its
# row below names (LAPWING_REQUIRE_ISA), so a missing one fails; one that is chosen where it cannot run dies of SIGILL.
set -eu
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-musl

qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
if [ -z "$qemu" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "test-neon: installing qemu-user-static" >&2
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends qemu-user-static >/dev/null
        qemu=$(command -v qemu-aarch64-static)
    else
        echo "test-neon: qemu-aarch64-static is missing; install the package qemu-user-static" >&2
        exit 1
    fi
fi
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
    echo "test-neon: adding the rustup target $target" >&2
    rustup target add "$target"
fi

# rust-lld comes with the toolchain; musl's start files and libc come with the target.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS=-Clink-self-contained=yes

# The kernel tables that a CPU model must have.
tables() {
    case $1 in
    max) echo "neon-i8mm,neon-dotprod,neon,scalar" ;;
    neoverse-n1 | cortex-a76) echo "neon-dotprod,neon,scalar" ;;
    cortex-a53 | cortex-a72) echo "neon,scalar" ;;
    *)
        echo "test-neon: do not know which tables $1 has; add it to scripts/test-neon.sh" >&2
        exit 1
        ;;
    esac
}

# Runs cargo test for one CPU model: emulated CPU [arguments].
emulated() {
    cpu=$1
    shift
    LAPWING_REQUIRE_ISA=$(tables "$cpu") \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="$qemu -cpu $cpu" \
        cargo test --target "$target" "$@"
}

cpus=${LAPWING_NEON_CPUS:-max neoverse-n1 cortex-a72}
quantizers="--test quantize"
for cpu in $cpus; do
    echo "== $cpu" >&2
    # shellcheck disable=SC2086 # two words, or none
    emulated "$cpu" -p lapwing-quant --lib --test formats $quantizers "$@"
    quantizers=
done
if [ "${LAPWING_NEON_MODELS:-yes}" = yes ]; then
    cpu=${cpus%% *}
    echo "== $cpu: models" >&2
    emulated "$cpu" -p lapwing --test isa_models
fi
