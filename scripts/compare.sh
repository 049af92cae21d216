#!/bin/sh
# Speed of lapwing beside llama-bench programs: the same file and threads, each program in turn, round after round, so
# that what else the machine does falls on all of them alike. Prints medians, and the ratios to the best of the others.
#
#     scripts/compare.sh -m MODEL.gguf [-p 512] [-n 48] [-d 0] [-t 2] [--rounds 5] [--flags '--isa avx2'] \
#         -- LLAMA-BENCH [FLAG...] [-- LLAMA-BENCH [FLAG...]]...
#
# For example, ours against two builds, one of them with two settings:
#
#     scripts/compare.sh -m qwen3.gguf -p 512 -n 48 -- llama.cpp/llama-bench --repack 0 -- llama.cpp/llama-bench \
#         -- ik/llama-bench -fa 1
#
# Wants a quiet machine, a release build (LAPWING names another), and python3.
set -eu
[ $# -gt 0 ] || { sed -n '2,14p' "$0" | cut -c3-; exit 2; }
LAPWING=${LAPWING:-$(dirname "$0")/../target/release/lapwing} exec python3 "$(dirname "$0")/compare.py" "$@"
