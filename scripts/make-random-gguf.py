#!/usr/bin/env python3
"""Writes a GGUF of a published Qwen3 size with random weights: the right shapes, types and bytes for measuring speed
and memory, without a download. The text it produces is noise.

    scripts/make-random-gguf.py --size 0.6B --type Q4_K_M --vocab tokenizer.json -o qwen3-0.6b-q4_k_m.gguf

Needs Python 3.9 and numpy (tried with 2.4.6); nothing else. Types are mixed as llama-quantize mixes them without an
importance matrix; `--pure` gives every matrix the one type.

The vocabulary comes from `--vocab` (a GGUF, or a tokenizer.json with tokenizer_config.json beside it), or is a toy one:
the 256 bytes, Qwen3's control tokens at their ids, and padding up to 151,936.

Weights have standard deviation 0.02, as at the start of training, so activations stay finite. Each type's blocks are
generated once (a prime number of them, more than there are rows in the vocabulary) and every tensor is cut from that
pool at its own start, wrapping around: no two rows of a matrix are the same, and the 8B file takes as long as the disk.
The same seed, size, type and vocabulary give the same file, byte for byte.
"""

import argparse
import json
import os
import struct
import sys
from dataclasses import dataclass

import numpy as np

# (hidden, layers, heads, kv heads, ffn, tied); all: head_dim 128, vocabulary 151,936, context 40,960, theta 1e6, eps 1e-6.
DENSE = {
    "0.6B": (1024, 28, 16, 8, 3072, True),
    "1.7B": (2048, 28, 16, 8, 6144, True),
    "4B": (2560, 36, 32, 8, 9728, True),
    "8B": (4096, 36, 32, 8, 12288, False),
    "14B": (5120, 40, 40, 8, 17408, False),
    "32B": (5120, 64, 64, 8, 25600, False),
}
# The same, then (experts, used, expert ffn).
MOE = {"30B-A3B": ((2048, 48, 32, 4, 6144, False), (128, 8, 768))}
HEAD_DIM, VOCAB, CONTEXT, THETA, EPS = 128, 151936, 40960, 1e6, 1e-6
ALIGNMENT = 32
STD = 0.02
POOL_BLOCKS = 200003  # prime, above VOCAB

# name: (ggml id, weights in a block, bytes of a block); the float types are pooled by 256.
TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "IQ4_XS": (23, 256, 136),
}
# File type: (general.file_type, the type of most matrices).
FILE_TYPES = {
    "F32": (0, "F32"), "F16": (1, "F16"), "BF16": (32, "BF16"), "Q8_0": (7, "Q8_0"), "Q4_0": (2, "Q4_0"),
    "Q4_1": (3, "Q4_1"), "Q5_0": (8, "Q5_0"), "Q5_1": (9, "Q5_1"), "Q6_K": (18, "Q6_K"), "Q4_K_S": (14, "Q4_K"),
    "Q4_K_M": (15, "Q4_K"), "Q5_K_S": (16, "Q5_K"), "Q5_K_M": (17, "Q5_K"),
    # These are mixed by llama-quantize in ways not imitated here: --pure only.
    "Q2_K": (10, "Q2_K"), "Q3_K": (11, "Q3_K"), "IQ4_NL": (25, "IQ4_NL"), "IQ4_XS": (30, "IQ4_XS"),
}
PURE_ONLY = ("Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS")

TOY_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
TOY_SPECIALS = {151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>", 151667: "<think>", 151668: "</think>"}
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


# Blocks: `n` blocks of each type as an array of bytes, n x block bytes.


def halves(values):
    return values.astype("<f2").view(np.uint8).reshape(len(values), 2)


def jitter(rng, n, scale):
    """Block scales around `scale`."""
    return scale * rng.uniform(0.7, 1.3, n)


def signed(rng, scales):
    """Half of them negated: codes such as -8..7 do not centre on zero, their weights then do."""
    return scales * rng.choice([-1.0, 1.0], len(scales))


def random_bytes(rng, n, width):
    return np.frombuffer(rng.bytes(n * width), np.uint8).reshape(n, width)


def packed_scales(rng, n):
    """The 12 bytes of Q4_K and Q5_K: eight 6-bit scales, and minimums equal to them, so that weights centre on zero."""
    s = rng.randint(40, 64, (n, 8)).astype(np.uint8)
    low, high = s[:, :4], s[:, 4:]
    top = low | (high >> 4 << 6)
    return np.concatenate([top, top, (high & 15) | (high & 15) << 4], axis=1)


def blocks(name, rng, n):
    """Codes are uniform over their range; scales are set for a standard deviation of STD over all."""
    def spread(levels):
        return ((levels**2 - 1) / 12) ** 0.5

    if name in ("F32", "F16", "BF16"):
        x = (rng.standard_normal(n * 256) * STD).astype("<f4")
        if name == "F16":
            x = x.astype("<f2")
        elif name == "BF16":
            bits = x.view("<u4")
            x = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
        return x.view(np.uint8).reshape(n, -1)
    width = TYPES[name][2]
    if name in ("Q4_0", "Q5_0", "Q8_0"):
        d = signed(rng, jitter(rng, n, STD / spread({"Q4_0": 16, "Q5_0": 32, "Q8_0": 256}[name])))
        return np.concatenate([halves(d), random_bytes(rng, n, width - 2)], axis=1)
    if name in ("Q4_1", "Q5_1"):
        levels = {"Q4_1": 16, "Q5_1": 32}[name]
        d = jitter(rng, n, STD / spread(levels))
        return np.concatenate([halves(d), halves(-d * (levels - 1) / 2), random_bytes(rng, n, width - 4)], axis=1)
    if name in ("Q4_K", "Q5_K"):
        levels = {"Q4_K": 16, "Q5_K": 32}[name]
        d = jitter(rng, n, STD / (52 * spread(levels)))
        head = [halves(d), halves(d * (levels - 1) / 2), packed_scales(rng, n)]
        return np.concatenate([*head, random_bytes(rng, n, width - 16)], axis=1)
    if name == "Q6_K":
        d = signed(rng, jitter(rng, n, STD / (96 * spread(64))))
        scales = rng.randint(64, 128, (n, 16)).astype(np.uint8)
        return np.concatenate([random_bytes(rng, n, 192), scales, halves(d)], axis=1)
    if name == "Q2_K":
        d = jitter(rng, n, STD / (12 * spread(4)))
        s = rng.randint(8, 16, (n, 16)).astype(np.uint8)
        return np.concatenate([s | s << 4, random_bytes(rng, n, 64), halves(d), halves(d * 1.5)], axis=1)
    if name == "Q3_K":
        d = jitter(rng, n, STD / (spread(64) * spread(8)))
        return np.concatenate([random_bytes(rng, n, 108), halves(d)], axis=1)
    if name == "IQ4_NL":
        return np.concatenate([halves(signed(rng, jitter(rng, n, STD / 69))), random_bytes(rng, n, 16)], axis=1)
    if name == "IQ4_XS":
        return np.concatenate([halves(jitter(rng, n, STD / (69 * spread(64)))), random_bytes(rng, n, 134)], axis=1)
    raise ValueError(name)


class Pool:
    """Blocks of each type, made when first wanted, from a stream of random numbers of their own."""

    def __init__(self, seed):
        self.seed, self.made = seed, {}

    def slices(self, name, nbytes, start):
        """Pieces of the pool of type `name`, `nbytes` together, from block `start` on, wrapping around."""
        if name not in self.made:
            # RandomState's streams are frozen by numpy's policy: the same seed gives the same file for good.
            rng = np.random.RandomState([self.seed, TYPES[name][0]])
            self.made[name] = np.ascontiguousarray(blocks(name, rng, POOL_BLOCKS)).reshape(-1)
        pool = memoryview(self.made[name])
        at = start % POOL_BLOCKS * (len(pool) // POOL_BLOCKS)
        while nbytes > 0:
            piece = pool[at : at + nbytes]
            yield piece
            nbytes -= len(piece)
            at = 0


# Tensors


@dataclass
class Tensor:
    name: str
    dims: tuple  # ggml order
    kind: str
    offset: int = 0

    def nbytes(self):
        _, block, size = TYPES[self.kind]
        assert self.dims[0] % block == 0, self
        return int(np.prod(self.dims, dtype=np.int64)) // block * size


def more_bits(i, n):
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def choose(file_type, role, i, n):
    """The type of the matrix with this role in layer i of n: llama-quantize's rules as far as Qwen3 meets them."""
    kind = FILE_TYPES[file_type][1]
    if role == "output":
        return kind if file_type in ("F32", "F16", "BF16", "Q8_0") else "Q6_K"
    if role in ("attn_v", "ffn_down"):
        if file_type in ("Q4_K_M", "Q5_K_M") and more_bits(i, n):
            return "Q6_K"
        if file_type == "Q4_K_S" and i < (4 if role == "attn_v" else n // 8):
            return "Q5_K"
    return kind


def tensors(size, file_type, layers, pure):
    moe = MOE.get(size)
    hidden, n, heads, kv, ffn, tied = moe[0] if moe else DENSE[size]
    n = layers or n

    def kind(role, i=0):
        return FILE_TYPES[file_type][1] if pure else choose(file_type, role, i, n)

    yield Tensor("token_embd.weight", (hidden, VOCAB), kind("output" if tied else "token_embd"))
    if not tied:
        yield Tensor("output.weight", (hidden, VOCAB), kind("output"))
    yield Tensor("output_norm.weight", (hidden,), "F32")
    for i in range(n):
        def blk(name, dims, role=None):
            return Tensor(f"blk.{i}.{name}.weight", dims, kind(role, i) if role else "F32")

        yield blk("attn_norm", (hidden,))
        yield blk("attn_q", (hidden, heads * HEAD_DIM), "attn_q")
        yield blk("attn_k", (hidden, kv * HEAD_DIM), "attn_k")
        yield blk("attn_v", (hidden, kv * HEAD_DIM), "attn_v")
        yield blk("attn_q_norm", (HEAD_DIM,))
        yield blk("attn_k_norm", (HEAD_DIM,))
        yield blk("attn_output", (heads * HEAD_DIM, hidden), "attn_output")
        yield blk("ffn_norm", (hidden,))
        if moe:
            experts, _, width = moe[1]
            yield blk("ffn_gate_inp", (hidden, experts))
            yield blk("ffn_gate_exps", (hidden, width, experts), "ffn_gate")
            yield blk("ffn_up_exps", (hidden, width, experts), "ffn_up")
            yield blk("ffn_down_exps", (width, hidden, experts), "ffn_down")
        else:
            yield blk("ffn_gate", (hidden, ffn), "ffn_gate")
            yield blk("ffn_up", (hidden, ffn), "ffn_up")
            yield blk("ffn_down", (ffn, hidden), "ffn_down")


# Vocabulary: (tokens, types, merges, chat template), padded to VOCAB.


def padded(tokens, merges, template):
    """`tokens`: id -> (text, type)."""
    if max(tokens) >= VOCAB:
        sys.exit(f"the vocabulary has an id of {max(tokens)}, expected less than {VOCAB}")
    both = [tokens.get(i, (f"[PAD{i}]", UNUSED)) for i in range(VOCAB)]
    return [t for t, _ in both], [k for _, k in both], merges, template


def toy_vocabulary():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    tokens = {i: (chr(b), NORMAL) for i, b in enumerate(printable)}
    tokens.update({len(printable) + i: (chr(256 + i), NORMAL) for i, _ in enumerate(rest)})
    tokens.update({i: (t, USER_DEFINED if "think" in t else CONTROL) for i, t in TOY_SPECIALS.items()})
    return padded(tokens, [], TOY_TEMPLATE)


def vocabulary_of_json(path):
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    tokens = {i: (t, NORMAL) for t, i in data["model"]["vocab"].items()}
    for added in data["added_tokens"]:
        tokens[added["id"]] = (added["content"], CONTROL if added["special"] else USER_DEFINED)
    merges = [m if isinstance(m, str) else " ".join(m) for m in data["model"]["merges"]]
    template = TOY_TEMPLATE
    config = os.path.join(os.path.dirname(path), "tokenizer_config.json")
    if os.path.exists(config):
        with open(config, encoding="utf-8") as f:
            template = json.load(f).get("chat_template", template)
    return padded(tokens, merges, template)


def vocabulary_of_gguf(path):
    with open(path, "rb") as f:
        meta = read_metadata(f)
    texts, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    # Some files mark their padding as user-defined; it must never be sampled.
    tokens = {i: (t, UNUSED if t == f"[PAD{i}]" else k) for i, (t, k) in enumerate(zip(texts, kinds))}
    return padded(tokens, meta["tokenizer.ggml.merges"], meta.get("tokenizer.chat_template", TOY_TEMPLATE))


SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


def read_metadata(f):
    def unpack(form):
        return struct.unpack(form, f.read(struct.calcsize(form)))[0]

    def text():
        return f.read(unpack("<Q")).decode("utf-8")

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            element, count = unpack("<I"), unpack("<Q")
            return [value(element) for _ in range(count)]
        return unpack(SCALARS[kind])

    if f.read(4) != b"GGUF" or unpack("<I") not in (2, 3):
        sys.exit(f"{f.name} is not a GGUF of version 2 or 3")
    _, count = unpack("<Q"), unpack("<Q")
    return {text(): value(unpack("<I")) for _ in range(count)}


# The file


def encoded(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def metadata(size, file_type, layers, vocabulary, seed):
    moe = MOE.get(size)
    hidden, n, heads, kv, ffn, _ = moe[0] if moe else DENSE[size]
    arch = "qwen3moe" if moe else "qwen3"
    tokens, kinds, merges, template = vocabulary
    u32, f32, string = 4, 6, 8
    yield "general.architecture", string, arch
    yield "general.type", string, "model"
    yield "general.name", string, f"Qwen3 {size}, random weights, seed {seed}"
    yield "general.size_label", string, size
    yield "general.quantization_version", u32, 2
    yield "general.file_type", u32, FILE_TYPES[file_type][0]
    yield f"{arch}.block_count", u32, layers or n
    yield f"{arch}.context_length", u32, CONTEXT
    yield f"{arch}.embedding_length", u32, hidden
    yield f"{arch}.feed_forward_length", u32, ffn
    yield f"{arch}.attention.head_count", u32, heads
    yield f"{arch}.attention.head_count_kv", u32, kv
    yield f"{arch}.attention.key_length", u32, HEAD_DIM
    yield f"{arch}.attention.value_length", u32, HEAD_DIM
    yield f"{arch}.attention.layer_norm_rms_epsilon", f32, EPS
    yield f"{arch}.rope.freq_base", f32, THETA
    if moe:
        experts, used, width = moe[1]
        yield f"{arch}.expert_count", u32, experts
        yield f"{arch}.expert_used_count", u32, used
        yield f"{arch}.expert_feed_forward_length", u32, width
    yield "tokenizer.ggml.model", string, "gpt2"
    yield "tokenizer.ggml.pre", string, "qwen2"
    yield "tokenizer.ggml.tokens", (9, string), tokens
    yield "tokenizer.ggml.token_type", (9, 5), kinds
    yield "tokenizer.ggml.merges", (9, string), merges
    yield "tokenizer.ggml.eos_token_id", u32, 151645
    yield "tokenizer.ggml.padding_token_id", u32, 151643
    yield "tokenizer.ggml.bos_token_id", u32, 151643
    yield "tokenizer.ggml.add_bos_token", 7, False
    yield "tokenizer.chat_template", string, template


def header(kvs, table):
    out = [b"GGUF", struct.pack("<IQQ", 3, len(table), len(kvs))]
    for key, kind, value in kvs:
        out.append(encoded(key))
        if isinstance(kind, tuple):
            out.append(struct.pack("<IIQ", *kind, len(value)))
            out += [encoded(v) if kind[1] == 8 else struct.pack(SCALARS[kind[1]], v) for v in value]
        else:
            out.append(struct.pack("<I", kind))
            out.append(encoded(value) if kind == 8 else struct.pack(SCALARS[kind], value))
    for t in table:
        out.append(encoded(t.name))
        out.append(struct.pack(f"<I{len(t.dims)}QIQ", len(t.dims), *t.dims, TYPES[t.kind][0], t.offset))
    return b"".join(out)


def pad(f):
    f.write(bytes(-f.tell() % ALIGNMENT))


def payload(t, pool, rng):
    if "norm" in t.name:
        return [(1 + 0.05 * rng.standard_normal(t.dims)).astype("<f4").tobytes()]
    return pool.slices(t.kind, t.nbytes(), rng.randint(POOL_BLOCKS))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", required=True, choices=[*DENSE, *MOE])
    p.add_argument("--type", required=True, choices=[*FILE_TYPES])
    p.add_argument("--vocab", help="a GGUF or tokenizer.json to take the vocabulary from; default: a toy one of bytes")
    p.add_argument("--pure", action="store_true", help="every matrix of the one type")
    p.add_argument("--layers", type=int, help="fewer layers than the published size")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("-o", "--output", required=True)
    a = p.parse_args()
    if a.type in PURE_ONLY and not a.pure:
        p.error(f"{a.type} needs --pure: llama-quantize's mix for it is not imitated")

    if a.vocab is None:
        vocabulary = toy_vocabulary()
    elif a.vocab.endswith(".json"):
        vocabulary = vocabulary_of_json(a.vocab)
    else:
        vocabulary = vocabulary_of_gguf(a.vocab)
    table = list(tensors(a.size, a.type, a.layers, a.pure))
    end = 0
    for t in table:
        t.offset = end
        end += t.nbytes() + -t.nbytes() % ALIGNMENT
    pool, rng = Pool(a.seed), np.random.RandomState([a.seed, 12345])
    part = a.output + ".part"
    with open(part, "wb") as f:
        f.write(header(list(metadata(a.size, a.type, a.layers, vocabulary, a.seed)), table))
        pad(f)
        start = f.tell()
        for t in table:
            assert f.tell() == start + t.offset, t
            for piece in payload(t, pool, rng):
                f.write(piece)
            pad(f)
        total = f.tell()
    os.replace(part, a.output)
    weights = sum(int(np.prod(t.dims, dtype=np.int64)) for t in table)
    kinds = {}
    for t in table:
        kinds[t.kind] = kinds.get(t.kind, 0) + 1
    print(f"{a.output}: {total} bytes, {weights} weights, {end * 8 / weights:.3f} bits each, tensors {kinds}")


if __name__ == "__main__":
    main()
