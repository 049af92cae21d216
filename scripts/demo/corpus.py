"""Conversations for training and evaluation, rendered by the published Qwen3 chat template.

A conversation is one sample: only the last answer is learned, because the template strips the thinking of earlier
turns. Everything follows from one seed.
"""

import argparse
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2

import counting
import smalltalk
import sums
import toolcalls
import usage
import words

TEMPLATE = Path(__file__).resolve().parents[2] / "tests/fixtures/qwen3-chat-template.jinja"
SYSTEMS = ["You are a helpful assistant.", "You are Lapwing's demonstration model.", "Answer briefly.", "You are Qwen, a helpful assistant."]
# Kind of an exchange and how often it is drawn.
KINDS = [("count", 35), ("spell", 7), ("sum", 16), ("usage", 11), ("fact", 4), ("small", 6), ("call", 15), ("unfit", 5), ("toolless", 1)]


def template(path=TEMPLATE):
    """The chat template with the `tojson` that transformers gives it."""
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env.from_string(Path(path).read_text())


@dataclass
class Sample:
    """What the model reads, what it should write, and how it is judged."""

    messages: list
    tools: list
    enable_thinking: object  # None: not said
    thinking: bool
    task: object
    completion: str = ""

    def prompt(self, compiled):
        extra = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        return compiled.render(messages=self.messages, tools=self.tools or None, add_generation_prompt=True, **extra)


def written(task, thinking):
    """The assistant's message as the template takes it."""
    message = {"role": "assistant", "content": task.reply(thinking), "reasoning_content": task.think if thinking else ""}
    if task.calls:
        message["tool_calls"] = task.calls
    return message


def completion(task, thinking, enable_thinking):
    """What the model writes after the generation prompt."""
    block = "" if enable_thinking is False else f"<think>\n{task.think if thinking else ''}\n</think>\n\n"
    calls = []
    for call in task.calls:
        f = call["function"]
        arguments = json.dumps(f["arguments"], ensure_ascii=False)
        calls.append(f'<tool_call>\n{{"name": "{f["name"]}", "arguments": {arguments}}}\n</tool_call>')
    return block + task.reply(thinking) + "\n".join(calls) + "<|im_end|>"


def exchange(rng, pool, kind, test):
    """A fresh task of a kind."""
    if kind == "count":
        return counting.count(rng, pool, test)
    if kind == "spell":
        return counting.spell(rng, pool, test)
    if kind == "sum":
        return sums.arithmetic(rng, test)
    if kind == "usage":
        return usage.ask(rng, test)
    if kind == "fact":
        return smalltalk.fact(rng, test)
    if kind == "small":
        return smalltalk.beyond(rng, pool, test)
    if kind == "call":
        return toolcalls.call(rng, test)
    if kind == "toolless":
        return toolcalls.toolless(rng)
    if rng.random() < 0.3:
        return toolcalls.unfit(rng, None)
    return toolcalls.unfit(rng, exchange(rng, pool, rng.choice(("count", "usage", "fact", "small", "sum")), test))


def successor(rng, pool, last, test):
    """A task that refers to the one before, or nothing."""
    if last.kind == "count" and rng.random() < 0.8:
        return counting.doubt(rng, last) if rng.random() < 0.4 else counting.follow(rng, pool, last, test)
    if last.kind == "sum" and rng.random() < 0.4:
        return sums.doubt(rng, last)
    return None


def draw_kind(rng, without=()):
    names = [k for k, _ in KINDS if k not in without]
    return rng.choices(names, [w for k, w in KINDS if k not in without])[0]


def tasks(rng, pool, test):
    """One to eight exchanges; at most the last has tools."""
    turns = rng.choices((1, 2, 3, 5, 8), (73, 17, 8, 1.3, 0.7))[0]
    out = []
    for at in range(turns):
        last_turn = at == turns - 1
        task = successor(rng, pool, out[-1], test) if out else None
        if task is None:
            task = exchange(rng, pool, draw_kind(rng, () if last_turn and not out else ("call", "unfit")), test)
        out.append(task)
    return out


def sample(rng, pool, test=False, cards=True):
    """One conversation."""
    if cards and not test and rng.random() < 0.004:
        return card(rng)
    chosen = tasks(rng, pool, test)
    off = rng.random() < 0.27
    return assemble(rng, chosen, False if off else rng.choice((None, None, None, True)))


def card(rng):
    """The model card's conversation, up to one of its turns."""
    three = counting.card()[: rng.randint(1, 3)]
    return build([t for t, _ in three], None, [s for _, s in three], [])


def assemble(rng, chosen, enable_thinking):
    """Adds the switches and the system prompt."""
    switches, p = [], 0.32 if enable_thinking is not False else 0.05
    for _ in chosen:
        one = rng.random()
        switches.append(rng.choice((" /no_think", " /no_think", " /no_think", " /think", "/no_think")) if one < p else "")
    system = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.05 else []
    return build(chosen, enable_thinking, switches, system)


def build(chosen, enable_thinking, switches, system):
    """The messages; the last switch given governs."""
    messages, thinking = list(system), enable_thinking is not False
    for at, (task, switch) in enumerate(zip(chosen, switches)):
        if switch and enable_thinking is not False:
            thinking = "no_think" not in switch
        messages.append({"role": "user", "content": task.user + switch})
        if at + 1 < len(chosen):
            messages.append(written(task, thinking))
    last = chosen[-1]
    for message in last.between:
        message = dict(message)
        if message["role"] == "assistant" and thinking and len(last.user) % 2:
            message["reasoning_content"] = f"For this I call {message['tool_calls'][0]['function']['name']}."
        messages.append(message)
    return Sample(messages, last.tools, enable_thinking, thinking, last, completion(last, thinking, enable_thinking))


def check(sample, compiled):
    """The template itself must write the completion behind the prompt."""
    if sample.enable_thinking is False:
        return
    whole = compiled.render(messages=sample.messages + [written(sample.task, sample.thinking)], tools=sample.tools or None)
    made = sample.prompt(compiled) + sample.completion + "\n"
    if whole != made:
        raise SystemExit(f"the template writes\n{whole!r}\nnot\n{made!r}")


def generate(seed, n, pool, cards=True, test=False):
    """`n` samples as (prompt, completion). Without `cards`, the model card's conversation is left out: its words get no
    tokens of their own from the tokenizer that way. `test` draws held-out cases."""
    rng, compiled = random.Random(seed), template()
    for at in range(n):
        one = sample(rng, pool, test, cards)
        if at % 50 == 0:
            check(one, compiled)
        yield one.prompt(compiled), one.completion


def main():
    p = argparse.ArgumentParser(description="Prints conversations as the model reads them.")
    p.add_argument("seed", type=int)
    p.add_argument("--n", type=int, default=40)
    p.add_argument("--held-out", action="store_true")
    p.add_argument("--plain", action="store_true", help="without control tokens, for programs that read them as text")
    p.add_argument("--words", type=Path, default=words.LIST)
    args = p.parse_args()
    for prompt, reply in generate(args.seed, args.n, words.Pool(words.load(args.words)), test=args.held_out):
        text = prompt + reply
        print(re.sub(r"<\|im_(start|end)\|>|</?think>\n*", "", text) if args.plain else text)


if __name__ == "__main__":
    main()
