"""Evaluates the model through our own program: `evaluate.py LAPWING MODEL.gguf ... [--n 200] [--words LIST]`.

Held-out cases are made by the training generator's own rules from words, number pairs and phrasings that training
never has. Each case is one `lapwing run --raw` with the prompt as the published chat template renders it and the model
card's sampling (thinking 0.6/0.95/20/0, otherwise 0.7/0.8/20/0). Prints one table for all models; exit code 1 when a
figure is below its target.
"""

import argparse
import json
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import corpus
import counting
import sums
import toolcalls
import usage
import words

SAMPLING = {
    True: ["--temp", "0.6", "--top-p", "0.95", "--top-k", "20", "--min-p", "0"],
    False: ["--temp", "0.7", "--top-p", "0.8", "--top-k", "20", "--min-p", "0"],
}
LIMIT = 400
# Group and the share that must be right.
TARGETS = {
    "count, thinking": 0.95, "count, not thinking": 0.80, "sums, thinking": 0.95, "usage": 0.95, "usage, new phrasing": 0.0,
    "tool calls": 0.95, "after a tool": 0.0, "too small": 0.0, "no <think> when off": 1.0, "came to an end": 1.0, "card conversation": 1.0,
}


def prompts(n, pool):
    """(group, sample) of every single-answer case; both ways of switching thinking off."""
    rng = random.Random(20_000_003)
    cases = []

    def add(group, task, thinking):
        off = rng.choice((False, None)) if not thinking else None
        switch = " /no_think" if not thinking and off is None else ""
        cases.append((group, corpus.build([task], off, [switch], [])))

    for _ in range(n):
        add("count, thinking", counting.count(rng, pool, test=True), True)
        add("count, not thinking", counting.count(rng, pool, test=True), False)
    for _ in range(n // 2):
        add("sums, thinking", sums.arithmetic(rng, test=True, only="+"), True)
        add("usage", usage.ask(rng, test=True), rng.random() < 0.5)
        add("tool calls", toolcalls.call(rng, test=True, answered=False), rng.random() < 0.5)
    for _ in range(n // 4):
        add("usage, new phrasing", usage.ask(rng, unseen=True), rng.random() < 0.5)
        add("after a tool", toolcalls.call(rng, test=True, answered=True), rng.random() < 0.5)
        add("too small", corpus.smalltalk.beyond(rng, pool, test=True), rng.random() < 0.5)
    return cases


def generate(program, model, prompt, thinking, seed):
    """(text, whether the model ended it)."""
    command = [program, "run", "-m", model, "--raw", "-p", prompt, "-n", str(LIMIT), "--seed", str(seed), "-t", "1", "--no-pin"]
    done = subprocess.run(command + SAMPLING[thinking], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout, "stopped after" not in done.stderr


def visible(text):
    """The answer without thinking and without the end mark."""
    return text.split("</think>")[-1].replace("<|im_end|>", "").strip()


def right(task, answer):
    """Whether the visible answer is what the task expects."""
    expect = task.expect
    if "count" in expect:
        found = re.search(r"there (?:is|are) (\d+)", answer, re.IGNORECASE)
        return bool(found) and int(found.group(1)) == expect["count"]
    if "sum" in expect:
        found = re.search(r"= (-?\d+)\.$", answer)
        return bool(found) and int(found.group(1)) == expect["sum"]
    if "call" in expect:
        found = re.fullmatch(r"<tool_call>\n(\{.*\})\n</tool_call>", answer)
        try:
            return bool(found) and json.loads(found.group(1)) == expect["call"]
        except json.JSONDecodeError:
            return False
    return expect["says"] in answer


def converse(program, model, compiled, seed):
    """The card's conversation, each turn with the answers before it; (all right, thinking as asked, all ended)."""
    messages, good, shown, ended = [], True, True, True
    for task, switch in counting.card():
        messages.append({"role": "user", "content": task.user + switch})
        thinking = "no_think" not in switch
        prompt = compiled.render(messages=messages, add_generation_prompt=True)
        text, end = generate(program, model, prompt, thinking, seed)
        block = text.split("</think>")[0].replace("<think>", "").strip()
        good &= right(task, visible(text))
        shown &= bool(block) == thinking
        ended &= end
        messages.append({"role": "assistant", "content": text.replace("<|im_end|>", "")})
    return good and shown and ended


def evaluate(program, model, cases, conversations, workers, out):
    """Group -> (right, cases) of one model; wrong answers go to `out`."""
    compiled, table = corpus.template(), {group: [0, 0] for group in TARGETS}

    def count(group, good):
        table[group][0] += bool(good)
        table[group][1] += 1

    def one(at):
        group, sample = cases[at]
        return generate(program, model, sample.prompt(compiled), sample.thinking, at + 1)

    with ThreadPoolExecutor(workers) as team:
        for (group, sample), (text, ended) in zip(cases, team.map(one, range(len(cases)))):
            good = right(sample.task, visible(text))
            count(group, good)
            count("came to an end", ended)
            if not sample.thinking:
                block = text.split("</think>")[0].replace("<think>", "").strip() if "</think>" in text else ""
                count("no <think> when off", not block and ("<think>" not in text or sample.enable_thinking is None))
            if not good or not ended:
                print(json.dumps({"model": Path(model).name, "group": group, "user": sample.task.user, "text": text,
                                  "expect": sample.task.expect}, ensure_ascii=False), file=out, flush=True)
        for good in team.map(lambda seed: converse(program, model, compiled, seed), range(conversations)):
            count("card conversation", good)
    return table


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("program")
    p.add_argument("models", nargs="+")
    p.add_argument("--n", type=int, default=200, help="cases of the largest groups")
    p.add_argument("--conversations", type=int, default=20, help="how often the card's conversation is held")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--words", type=Path, default=words.LIST)
    p.add_argument("--wrong", type=Path, default=Path("wrong.jsonl"), help="file for the wrong answers")
    args = p.parse_args()
    cases = prompts(args.n, words.Pool(words.load(args.words)))
    with args.wrong.open("w") as out:
        tables = {Path(m).stem: evaluate(args.program, m, cases, args.conversations, args.workers, out) for m in args.models}
    print("| | target | " + " | ".join(tables) + " |")
    print("|---|---|" + "---|" * len(tables))
    missed = False
    for group, target in TARGETS.items():
        cells = []
        for table in tables.values():
            good, n = table[group]
            missed |= good < target * n
            cells.append(f"{good}/{n}")
        wanted = f"{100 * target:.0f} %" if target else "-"
        print(f"| {group} | {wanted} | " + " | ".join(cells) + " |")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
