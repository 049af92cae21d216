#!/bin/sh
# Runs the tests of lapwing-quant as an aarch64 program under qemu, on three models of CPU: with everything (max), with
# dotprod but no i8mm (neoverse-n1), with plain NEON only (cortex-a72).
#
#     scripts/test-neon.sh [arguments of cargo test]
#
# Needs qemu-user-static and rustup's target aarch64-unknown-linux-musl; no cross compiler. What is missing is installed
# where this runs as root on Debian or Ubuntu, and named where not. LAPWING_REQUIRE_ISA is the caller's, and differs by
# model: LAPWING_NEON_CPUS=cortex-a72 LAPWING_REQUIRE_ISA=neon scripts/test-neon.sh
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

for cpu in ${LAPWING_NEON_CPUS:-max neoverse-n1 cortex-a72}; do
    echo "== $cpu" >&2
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="$qemu -cpu $cpu" \
        cargo test -p lapwing-quant --target "$target" --tests "$@"
done
