#!/usr/bin/env python3
"""Writes tests/fixtures/template/expected.json: what jinja2 renders for every case of cases.json.

Needs `pip install jinja2`. jinja2 is set up as transformers does it: immutable sandbox, trimmed blocks, loop controls,
tojson as json.dumps that leaves Unicode alone. Messages are first given the shape that this program gives them: a
content that is null becomes "", text parts are joined by line breaks, reasoning is known under `reasoning_content`
and `thinking` (the latter as transformers does it).
"""

import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "template"


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def shaped(message):
    content = message.get("content")
    if content is None:
        content = ""
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    message = {**message, "content": content}
    names = ("reasoning_content", "thinking", "reasoning")
    reasoning = next((message[name] for name in names if message.get(name) is not None), None)
    if reasoning is not None:
        message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    return message


def main() -> None:
    qwen3 = (HERE / "qwen3.jinja").read_text()
    cases = json.loads((HERE / "cases.json").read_text())
    env = environment()
    expected = {}
    for case in cases:
        assert case["name"] not in expected, case["name"]
        template = env.from_string(case.get("template", qwen3))
        expected[case["name"]] = template.render(
            messages=[shaped(message) for message in case["messages"]],
            tools=case.get("tools") or None,
            documents=None,
            add_generation_prompt=case.get("add_generation_prompt", True),
            **case.get("kwargs", {}),
        )
    text = json.dumps(expected, ensure_ascii=False, indent=0)
    (HERE / "expected.json").write_text(text + "\n")
    print(f"{len(expected)} cases by jinja2 {jinja2.__version__}")


if __name__ == "__main__":
    main()
