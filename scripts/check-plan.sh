#!/bin/sh
# Compares what `lapwing plan` predicts with what happens: the decode rate and the time to the first token of a prompt of
# 1,024 with `lapwing bench` (20 % and 30 % are allowed), the memory with what a process of `lapwing run` has resident
# (5 % are allowed). PROMPT=0 leaves the prompt out.
#
#     scripts/check-plan.sh MODEL.gguf...
#
# Wants a quiet machine, a release build, python3, and Linux (for /proc). Files of random weights will do:
# scripts/make-random-gguf.py.
set -eu
lapwing=${LAPWING:-target/release/lapwing}
tokens=${TOKENS:-64}
prompt=${PROMPT:-1024}
[ $# -gt 0 ] || { sed -n '2,9p' "$0"; exit 2; }
far=0
for model in "$@"; do
    plan=$("$lapwing" plan --probe --json "$model" -c "$tokens") || true
    bench=$("$lapwing" bench -m "$model" -p "$prompt" -n "$tokens" -r "${REPEAT:-3}" -o json --no-limits 2>/dev/null)
    PLAN=$plan BENCH=$bench TOKENS=$tokens python3 - "$lapwing" "$model" <<'PY' || far=1
import json, os, subprocess, sys, time

lapwing, model = sys.argv[1:]
plan, bench = json.loads(os.environ["PLAN"]), json.loads(os.environ["BENCH"])
tokens = os.environ["TOKENS"]
run = subprocess.Popen(
    [lapwing, "run", "-m", model, "--raw", "-p", "Hi", "-n", tokens, "-c", tokens, "--ignore-eos", "--force"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
seen = []
while run.poll() is None:
    try:
        with open(f"/proc/{run.pid}/status") as status:
            lines = [line for line in status if line.startswith("VmRSS:")]
        seen += [int(line.split()[1]) * 1024 for line in lines]
    except (FileNotFoundError, IndexError):
        break
    time.sleep(0.02)
# While loading, pages of the file are there twice, and at the end memory is given back: what it is mostly counts.
late = sorted(seen[len(seen) // 2:])
resident = late[len(late) // 2]
one = plan["model"]
rate = {test["n_gen"] > 0: test["avg_ts"] for test in bench}
figures = [("tokens/s", one["tokens_per_second"], rate[True], 0.20),
           ("resident MB", one["total"] / 1e6, resident / 1e6, 0.05)]
if False in rate:
    first = dict(map(tuple, one["first_token"]))
    figures.append(("first token of 1k, s", first[1024], 1024 / rate[False], 0.30))
failed = False
for name, predicted, measured, allowed in figures:
    off = predicted / measured - 1
    ok = abs(off) <= allowed
    failed |= not ok
    print(f"{os.path.basename(model)}: {name}: predicted {predicted:.2f}, measured {measured:.2f}, "
          f"{100 * off:+.1f} % ({'ok' if ok else 'TOO FAR'})")
sys.exit(failed)
PY
done
exit $far
