#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizer/vectors.json: texts and their ids by the Python package `tokenizers`.

Needs `pip install tokenizers`. Reads small.json beside it, a vocabulary of 1024 tokens in Qwen3's form.
"""

import json
import pathlib

import tokenizers

HERE = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "tokenizer"

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", "\r\n", " \n \n", "a", "Hello, world!", "  Hello\n    world\n",
    "I've, you'LL, he's, 'tis, 'RE 'D x'y", "3 33 333 3.14 1e-5 x86_64 ½ ² Ⅷ",
    "fn main() {\n\tprintln!(\"{}\", 1 + 1);\n}\n", "foo!!!\n\n  bar...   \n\r\n\tbaz  ",
    "中文，标点。日本語のテキスト 한국어", "🦙🚀👩‍👩‍👧‍👦 🇩🇪 ✅", "e\u0301 = é, A\u030a = Å, \u1e9b\u0323, q\u0323\u0307 q\u0307\u0323",
    "ᄀ\u1161\u11a8 = 각", "\u212b \u2126 \uf900", "नमस्ते दुनिया", "مرحبا بالعالم", "שָׁלוֹם", "\u00a0\u2003\u3000x\u0085y\u2028z",
    "\x00\x01\x7f\x80", "\ufeffbom", "\U0010fffd\ud7ff\ue000", "<think>\nwell\n</think>\n\nyes",
    "<|im_start|>user\nhi<|im_end|>\n", "<<|im_end|>>", "<|im_end", "<|im_end|><|im_end|>", "<|im_<|im_end|>end|>",
    "e<|im_end|>\u0301", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, null]}}\n</tool_call>",
    " <think> </think> ", "<|endoftext|>x", "a" * 300, " " * 100 + "x", "!" * 77 + "\n\n" + "?", "\n" * 50 + " a", "Ġ Ċ",
]


def main() -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(HERE / "small.json"))
    vectors = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in TEXTS]
    lines = ",\n".join(json.dumps(v) for v in vectors)
    (HERE / "vectors.json").write_text(f"[\n{lines}\n]\n")
    print(f"{len(vectors)} vectors by tokenizers {tokenizers.__version__}")


if __name__ == "__main__":
    main()
