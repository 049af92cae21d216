"""Qwen3 in numpy, written to be right and readable: the oracle behind scripts/golden.py.

Reads a GGUF (any block format that the `gguf` package can dequantize) and computes logits in float64 on the
dequantized weights, as transformers' Qwen3 and Qwen3-MoE define them: pre-norm blocks, per-head RMSNorm of q and k,
rotary embedding over the two halves of a head (none, linear or yarn scaling), grouped-query attention, SwiGLU, and for
MoE a softmax router whose top k weights are made to sum to one. It shares no code with the Rust program.
"""

import math
from dataclasses import dataclass

import gguf
import numpy as np


@dataclass
class Config:
    """Shape of a model, named as in its GGUF metadata."""

    arch: str
    block_count: int
    embedding_length: int
    head_count: int
    head_count_kv: int
    key_length: int
    eps: float
    freq_base: float
    context_length: int
    expert_used_count: int = 0
    scaling: str = "none"
    factor: float = 1.0
    original_context: int = 0

    @staticmethod
    def read(reader):
        """Takes the configuration from an open gguf.GGUFReader."""
        meta = {key: field.contents() for key, field in reader.fields.items()}
        arch = meta["general.architecture"]
        get = lambda key, *default: meta.get(f"{arch}.{key}", *default) if default else meta[f"{arch}.{key}"]
        return Config(
            arch=arch,
            block_count=get("block_count"),
            embedding_length=get("embedding_length"),
            head_count=get("attention.head_count"),
            head_count_kv=get("attention.head_count_kv"),
            key_length=get("attention.key_length"),
            # The converter stores f32; the checkpoint's config says 1e-6 exactly. The difference is below f32's.
            eps=float(get("attention.layer_norm_rms_epsilon")),
            freq_base=float(get("rope.freq_base")),
            context_length=get("context_length"),
            expert_used_count=get("expert_used_count", 0),
            scaling=get("rope.scaling.type", "none"),
            factor=float(get("rope.scaling.factor", 1.0)),
            original_context=get("rope.scaling.original_context_length", get("context_length")),
        )


def rope_frequencies(cfg):
    """Angular speed of each pair of a head, and the factor on cos and sin (yarn's attention factor)."""
    half = cfg.key_length // 2
    plain = cfg.freq_base ** (-np.arange(half, dtype=np.float64) / half)
    if cfg.scaling == "none":
        return plain, 1.0
    if cfg.scaling == "linear":
        return plain / cfg.factor, 1.0
    if cfg.scaling != "yarn":
        raise ValueError(f"rope scaling {cfg.scaling!r} is not known here")

    def pair_with(rotations):
        turns = cfg.original_context / (rotations * 2 * math.pi)
        return cfg.key_length * math.log(turns) / (2 * math.log(cfg.freq_base))

    beta_fast, beta_slow = 32, 1
    low = max(math.floor(pair_with(beta_fast)), 0)
    high = min(math.ceil(pair_with(beta_slow)), cfg.key_length - 1)
    width = high - low if high != low else 0.001
    interpolated = np.clip((np.arange(half) - low) / width, 0, 1)
    freqs = plain / cfg.factor * interpolated + plain * (1 - interpolated)
    attention_factor = 0.1 * math.log(cfg.factor) + 1.0 if cfg.factor > 1 else 1.0
    return freqs, attention_factor


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


class Qwen3:
    """A loaded model with one sequence's keys and values; `forward` appends to it."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.cfg = Config.read(reader)
        self.weights = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors
        }
        self.freqs, self.attention_factor = rope_frequencies(self.cfg)
        self.closest_routing = math.inf
        self.reset()

    def reset(self):
        """Forgets the sequence."""
        self.keys = [[] for _ in range(self.cfg.block_count)]
        self.values = [[] for _ in range(self.cfg.block_count)]
        self.position = 0

    def w(self, layer, name):
        return self.weights[f"blk.{layer}.{name}.weight"]

    def rotate(self, x, positions):
        """Rotary embedding of x [tokens, heads, key_length], first half paired with second."""
        angle = positions[:, None] * self.freqs
        cos = (np.cos(angle) * self.attention_factor)[:, None, :]
        sin = (np.sin(angle) * self.attention_factor)[:, None, :]
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def attention(self, layer, x):
        cfg, tokens = self.cfg, len(x)
        positions = np.arange(self.position, self.position + tokens)
        heads = lambda name, n: (x @ self.w(layer, name).T).reshape(tokens, n, cfg.key_length)
        q = rms_norm(heads("attn_q", cfg.head_count), self.w(layer, "attn_q_norm"), cfg.eps)
        k = rms_norm(heads("attn_k", cfg.head_count_kv), self.w(layer, "attn_k_norm"), cfg.eps)
        self.keys[layer].append(self.rotate(k, positions))
        self.values[layer].append(heads("attn_v", cfg.head_count_kv))
        q = self.rotate(q, positions)
        group = cfg.head_count // cfg.head_count_kv
        k = np.repeat(np.concatenate(self.keys[layer]), group, axis=1)
        v = np.repeat(np.concatenate(self.values[layer]), group, axis=1)
        scores = np.einsum("thd,shd->hts", q, k) / math.sqrt(cfg.key_length)
        future = np.arange(len(k))[None, :] > positions[:, None]
        scores = np.where(future[None], -np.inf, scores)
        mixed = np.einsum("hts,shd->thd", softmax(scores), v)
        return mixed.reshape(tokens, -1) @ self.w(layer, "attn_output").T

    def dense(self, layer, x):
        gate, up = x @ self.w(layer, "ffn_gate").T, x @ self.w(layer, "ffn_up").T
        return (silu(gate) * up) @ self.w(layer, "ffn_down").T

    def experts(self, layer, x):
        used = self.cfg.expert_used_count
        weight = softmax(x @ self.w(layer, "ffn_gate_inp").T)
        order = np.argsort(-weight, axis=-1, kind="stable")
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            ranked = weight[t, order[t]]
            self.closest_routing = min(self.closest_routing, math.log(ranked[used - 1] / ranked[used]))
            for rank in range(used):
                e = order[t, rank]
                gate, up = self.w(layer, "ffn_gate_exps")[e] @ row, self.w(layer, "ffn_up_exps")[e] @ row
                out[t] += ranked[rank] / ranked[:used].sum() * (self.w(layer, "ffn_down_exps")[e] @ (silu(gate) * up))
        return out

    def forward(self, ids):
        """Logits [len(ids), vocab] in float64 for ids that follow what was fed before."""
        x = self.weights["token_embd.weight"][np.asarray(ids)]
        ffn = self.experts if self.cfg.expert_used_count else self.dense
        for layer in range(self.cfg.block_count):
            x = x + self.attention(layer, rms_norm(x, self.w(layer, "attn_norm"), self.cfg.eps))
            x = x + ffn(layer, rms_norm(x, self.w(layer, "ffn_norm"), self.cfg.eps))
        self.position += len(ids)
        x = rms_norm(x, self.weights["output_norm.weight"], self.cfg.eps)
        return x @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T


def continuation(model, ids, count):
    """Logits of the prompt, `count` argmax tokens after it, and the smallest gap between best and second best."""
    model.reset()
    logits = model.forward(ids)
    row, chosen, margin = logits[-1], [], math.inf
    for step in range(count):
        second, best = np.sort(row)[-2:]
        margin = min(margin, best - second)
        chosen.append(int(row.argmax()))
        if step + 1 < count:
            row = model.forward([chosen[-1]])[-1]
    return logits, chosen, margin
