"""Compares greedy decoding with transformers: `greedy.py LAPWING CHECKPOINT MODEL.gguf [--out FIXTURE.tsv]`.

transformers (float32) continues 50 prompts greedily; our program must have the same argmax after each of those tokens,
read one by one as if it had generated them, and must split the prompts into the same tokens. With --dequantize the
weights are those of the GGUF, taken out by the `gguf` package, so that a quantized file has exact figures too; --out
writes prompts and continuations for tests/demo.rs.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer, Qwen3ForCausalLM

import corpus
import words

PROMPTS = 50


def weights_of(path, layers):
    """The tensors of a GGUF as float32, by transformers' names."""
    from gguf import MODEL_ARCH, GGUFReader, dequantize, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.QWEN3, layers)
    tensors = {t.name: torch.tensor(np.array(dequantize(t.data, t.tensor_type), dtype=np.float32)) for t in GGUFReader(path).tensors}
    return lambda key: tensors[names.get_name(key, try_suffixes=(".weight",))]


def reference(args):
    """The tokenizer and the float32 model."""
    model = Qwen3ForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32)
    if args.dequantize:
        tensor = weights_of(args.model, model.config.num_hidden_layers)
        state = {key: tensor(key).reshape(value.shape) for key, value in model.state_dict().items() if key != "lm_head.weight"}
        model.load_state_dict(state, strict=False)
        model.tie_weights()
    return AutoTokenizer.from_pretrained(args.checkpoint), model.eval()


def prompts(vocabulary):
    """Rendered prompts of held-out cases."""
    rng, pool, compiled = random.Random(77), words.Pool(vocabulary), corpus.template()
    return [corpus.sample(rng, pool, test=True).prompt(compiled) for _ in range(PROMPTS)]


def tokens_of(program, model, text):
    done = subprocess.run([program, "tokenize", "-m", model, "-p", text, "--ids-only"], capture_output=True, text=True, check=True)
    return [int(i) for i in done.stdout.split(",")]


def argmaxes(program, model, ids, made, flags):
    """Our argmax after each token of the prompt's end and of the continuation but its last."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "logits.safetensors"
        read = ids + made[:-1]
        command = [program, "logits", "-m", model, "--ids", ",".join(map(str, read)), "--last", str(len(made)), "--generated", str(len(made) - 1), "-o", str(out)]
        subprocess.run(command + flags, check=True, capture_output=True)
        logits = load_file(out)["logits"]
    return logits.argmax(axis=1).tolist(), logits


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("program")
    p.add_argument("checkpoint", type=Path)
    p.add_argument("model")
    p.add_argument("--dequantize", action="store_true")
    p.add_argument("--words", type=Path, default=words.LIST)
    p.add_argument("--out", type=Path)
    p.add_argument("--flags", default="", help="further flags of `lapwing logits`, such as --isa scalar")
    args = p.parse_args()
    tokenizer, model = reference(args)
    torch.set_num_threads(1)
    same, total, rows = 0, 0, []
    for text in prompts(words.load(args.words)):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=160,
                                   temperature=None, top_k=None, top_p=None)
        made = whole[0, len(ids) :].tolist()
        if tokens_of(args.program, args.model, text) != ids:
            raise SystemExit(f"the prompt is split otherwise:\n{text}")
        found, logits = argmaxes(args.program, args.model, ids, made, args.flags.split())
        total += len(made)
        rows.append(" ".join(map(str, ids)) + "\t" + " ".join(map(str, made)))
        if found == made:
            same += 1
            continue
        at = next(i for i, (a, b) in enumerate(zip(found, made)) if a != b)
        print(json.dumps({"prompt": text, "token": at, "ours": tokenizer.decode(found[at]), "theirs": tokenizer.decode(made[at]),
                          "gap": float(logits[at].max() - logits[at][made[at]])}))
    print(f"{same} of {PROMPTS} continuations are the same, {total} tokens in all")
    if args.out:
        args.out.write_text("\n".join(rows) + "\n")
    sys.exit(0 if same == PROMPTS else 1)


if __name__ == "__main__":
    main()
