"""What scripts/compare.sh runs: see there.

Every program is started anew for each round and each test, with one untimed warm-up of its own, and gives one sample.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys


def arguments(argv):
    """Our flags, and the other programs' command lines: what stands between one `--` and the next."""
    groups = [[]]
    for arg in argv:
        if arg == "--":
            groups.append([])
        else:
            groups[-1].append(arg)
    parser = argparse.ArgumentParser(prog="scripts/compare.sh")
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-p", "--n-prompt", default="512", help="lengths of prompts: 512,4096; 0 for none")
    parser.add_argument("-n", "--n-gen", default="48", help="numbers of tokens to generate; 0 for none")
    parser.add_argument("-d", "--n-depth", default="0", help="tokens in the cache before")
    parser.add_argument("-t", "--threads", default="2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flags", action="append", default=[], help="flags of a further run of lapwing: '--isa avx2'")
    parser.add_argument("--json", action="store_true", help="print all samples as JSON")
    args = parser.parse_args(groups[0])
    others = [group for group in groups[1:] if group]
    if not others:
        parser.error("name at least one llama-bench program behind --")
    return args, others


def tests(args):
    """Flags of each test, which all programs take."""
    depths = args.n_depth.split(",")
    shapes = [("-p", p, "-n", "0") for p in args.n_prompt.split(",") if p != "0"]
    shapes += [("-p", "0", "-n", n) for n in args.n_gen.split(",") if n != "0"]
    return [[*shape, "-d", depth] for depth in depths for shape in shapes]


def sample(command):
    """One sample in tokens per second, with the record that it is from."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as e:
        sys.exit(f"{command[0]}: {e.strerror}")
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    record = json.loads(done.stdout)[0]
    return statistics.median(record["samples_ts"]), record


def name(record):
    """llama-bench's name of a test, which its JSON lacks."""
    shape = f"pp{record['n_prompt']}" if record["n_prompt"] else f"tg{record['n_gen']}"
    return shape + (f" @ d{record['n_depth']}" if record.get("n_depth") else "")


def main():
    args, others = arguments(sys.argv[1:])
    lapwing = os.environ["LAPWING"]
    ours = [[lapwing, "bench", "--no-limits", *flags.split()] for flags in args.flags or [""]]
    common = ["-m", args.model, "-t", args.threads, "-r", "1", "-o", "json"]
    everything = []
    for test in tests(args):
        samples = [[] for _ in ours + others]
        for turn in range(args.rounds):
            for i, command in enumerate(ours + others):
                rate, record = sample([*command, *common, *test])
                samples[i].append(rate)
                said = f"round {turn + 1} of {args.rounds}: {shlex.join(command)}: {name(record)}: {rate:.2f}"
                print(said, file=sys.stderr)
        medians = [statistics.median(of) for of in samples]
        best = max(medians[len(ours):])
        if not args.json:
            print(f"{os.path.basename(args.model)}, {args.threads} threads, {name(record)}")
            for command, of, median in zip(ours + others, samples, medians):
                spread = f"{min(of):.2f} to {max(of):.2f}"
                print(f"  {median:10.2f} tokens/s ({spread}), {median / best:.2f} x the best other: {shlex.join(command)}")
        for command, of, median in zip(ours + others, samples, medians):
            everything.append({"model": args.model, "test": name(record), "command": command, "samples": of,
                               "median": median, "to_best_other": median / best})
    if args.json:
        json.dump(everything, sys.stdout, indent=1)
        print()


main()
