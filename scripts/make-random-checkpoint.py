#!/usr/bin/env python3
"""Writes a random checkpoint of a published Qwen3 size, as Hugging Face has it: sharded BF16 safetensors with index.

    make-random-checkpoint.py SIZE OUT_DIR [--hf ../shared/data/qwen3-hf] [--seed 1] [--shard-gb 5]

SIZE is a name in HF/configs (0.6B, 4B, 30B-A3B, ...). Weights are normal with the usual deviation of 0.02, norms near 1.
16,777,259 of them (a prime) are drawn once, and every tensor is cut from that pool at a start of its own, wrapping around:
no two rows of a matrix are the same, memory stays small and the time is the disk's whatever the size. Needs numpy only.
For measuring `lapwing quantize`: the model says nothing.
"""

import argparse
import json
import pathlib
import shutil
import struct

import numpy as np

POOL = 16_777_259


def tensors(c):
    """Names and shapes of all tensors, in the order of a published checkpoint."""
    hidden, head = c["hidden_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", [c["vocab_size"], hidden]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}"
        yield f"{at}.input_layernorm.weight", [hidden]
        experts = c.get("num_experts", 0)
        ffn = c["moe_intermediate_size"] if experts else c["intermediate_size"]
        mlps = [f"{at}.mlp.experts.{e}" for e in range(experts)] if experts else [f"{at}.mlp"]
        if experts:
            yield f"{at}.mlp.gate.weight", [experts, hidden]
        for mlp in mlps:
            yield f"{mlp}.down_proj.weight", [hidden, ffn]
            yield f"{mlp}.gate_proj.weight", [ffn, hidden]
            yield f"{mlp}.up_proj.weight", [ffn, hidden]
        yield f"{at}.post_attention_layernorm.weight", [hidden]
        yield f"{at}.self_attn.k_norm.weight", [head]
        yield f"{at}.self_attn.k_proj.weight", [kv, hidden]
        yield f"{at}.self_attn.o_proj.weight", [hidden, q]
        yield f"{at}.self_attn.q_norm.weight", [head]
        yield f"{at}.self_attn.q_proj.weight", [q, hidden]
        yield f"{at}.self_attn.v_proj.weight", [kv, hidden]
    yield "model.norm.weight", [hidden]
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", [c["vocab_size"], hidden]


def count(shape):
    return int(np.prod(shape, dtype=np.int64))


def shards(all_tensors, most):
    """The tensors in lists of at most `most` bytes."""
    found, size = [[]], 0
    for name, shape in all_tensors:
        n = 2 * count(shape)
        if found[-1] and size + n > most:
            found.append([])
            size = 0
        found[-1].append((name, shape))
        size += n
    return found


def bf16(values):
    """The upper halves of singles, rounded to nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write(path, names, pool, random):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in names:
        end = at + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)))
        out.write(text)
        for name, shape in names:
            if len(shape) == 1:
                out.write(bf16(1 + 0.1 * random.standard_normal(shape[0], dtype=np.float32)).tobytes())
                continue
            left, start = count(shape), int(random.integers(POOL))
            while left:
                piece = pool[start : start + left]
                out.write(piece.tobytes())
                left -= len(piece)
                start = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--hf", type=pathlib.Path, default=pathlib.Path("../shared/data/qwen3-hf"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard-gb", type=float, default=5.0)
    args = parser.parse_args()
    config = json.loads((args.hf / "configs" / f"{args.size}.json").read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(config, indent=2))
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(args.hf / name, args.out / name)
    random = np.random.Generator(np.random.PCG64(args.seed))
    pool = bf16(random.standard_normal(POOL, dtype=np.float32) * np.float32(0.02))
    parts, index, total = shards(tensors(config), int(args.shard_gb * 1e9)), {}, 0
    for n, names in enumerate(parts):
        file = f"model-{n + 1:05}-of-{len(parts):05}.safetensors"
        write(args.out / file, names, pool, random)
        index.update({name: file for name, _ in names})
        total += sum(2 * count(shape) for _, shape in names)
        print(f"{file}: {len(names)} tensors", flush=True)
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=2)
    (args.out / "model.safetensors.index.json").write_text(text)
    print(f"{args.out}: {total / 1e9:.2f} GB in {len(parts)} files")


if __name__ == "__main__":
    main()
