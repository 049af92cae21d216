#!/usr/bin/env python3
"""Makes the models under tests/fixtures/models, or checks the oracle that their figures come from.

    pip install -r scripts/requirements.txt
    python scripts/golden.py make                      # writes tests/fixtures/models/*.gguf and *.safetensors
    python scripts/golden.py check ../shared/golden    # compares the oracle with what transformers computed

`make` draws tiny random checkpoints (the seed is searched until no argmax and no choice of experts is a near tie, so
that a right engine must agree whatever its order of summation), writes each as a GGUF with the key and tensor names
that llama.cpp's converter uses, reads that file back with scripts/qwen3_reference.py and stores, for three prompts,
the token ids, the logits of the last rows and the argmax continuation. The same seed gives the same bytes.
"""

import argparse
import json
import math
import pathlib
import sys
from dataclasses import dataclass, field

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from golden_blocks import Rounded, pack
from qwen3_reference import Qwen3, continuation, rope_frequencies

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"
VOCAB, ROWS, GREEDY = 320, 4, 32
# Quantized files: largest KL divergence (nats) that 8-bit activations may cause in any trial.
MAX_ROUNDING = 5e-3
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VISIBLE = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PROMPTS = [
    "Ice melts.",
    "<|im_start|>user\nHow far is 12 km?<|im_end|>\n<|im_start|>assistant\n",
    "The lapwing is a wading bird with a crest, broad wings and a call that gave it the name peewit. "
    "It nests on open ground; 2 \u00d7 4 = 8 eggs is rare. \u9ea6\u9e21 \U0001f426",
]


@dataclass
class Plan:
    """One fixture: its shape, the type of each group of tensors, and how clear its choices must be."""

    name: str
    title: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    file_type: int
    base: T = T.BF16
    types: dict = field(default_factory=dict)
    tied: bool = True
    experts: int = 0
    experts_used: int = 0
    scaling: dict = field(default_factory=dict)
    context: int = 40960
    exact: bool = True
    min_margin: float = 0.05
    min_routing: float = 0.003
    prompts: int = 3

    def kind(self, tensor):
        """Type of a tensor, by the part of its name that says its role."""
        role = tensor.removesuffix(".weight").split(".")[-1]
        if role.endswith("norm") or role == "ffn_gate_inp":
            return T.F32
        return self.types.get(role, self.base)


PLANS = [
    Plan("dense-bf16", "Dense", 32, 2, 4, 2, 32, 96, 32),
    Plan("moe-bf16", "Moe", 32, 2, 2, 1, 32, 32, 32, experts=8, experts_used=2, tied=False,
         min_margin=0.03),
    Plan("yarn-bf16", "Yarn", 32, 1, 3, 1, 32, 64, 32, context=128,
         scaling={"type": "yarn", "factor": 4.0, "original_context_length": 32}),
    Plan("moe-q8_0", "Moe Q8", 32, 2, 2, 1, 32, 64, 7, base=T.Q8_0, experts=8, experts_used=2,
         exact=False, min_routing=0.02, prompts=2),
    Plan("dense-mixed", "Dense mixed", 256, 1, 4, 1, 32, 64, 15, base=T.Q4_K, exact=False,
         types={"token_embd": T.Q6_K, "attn_v": T.Q6_K, "attn_output": T.Q5_0, "ffn_up": T.Q4_0, "ffn_down": T.Q8_0}),
]


def tokenizer():
    """A byte-level BPE trained on the prompts, with Qwen3's normalizer, split and added tokens."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = VOCAB - len(CONTROL) - len(VISIBLE)
    trainer = trainers.BpeTrainer(vocab_size=plain, initial_alphabet=alphabet, show_progress=False)
    corpus = PROMPTS + [(FIXTURES / "qwen3-chat-template.jinja").read_text(encoding="utf-8")]
    made.train_from_iterator(corpus, trainer)
    assert made.get_vocab_size() == plain, made.get_vocab_size()
    made.add_special_tokens(CONTROL)
    made.add_tokens(VISIBLE)
    return made


def tensors(plan, seed):
    """Random f32 weights by GGUF name."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: (rng.standard_normal(shape) * 1.5 / math.sqrt(shape[-1])).astype(np.float32)
    norm = lambda n: (1 + 0.2 * rng.standard_normal(n)).astype(np.float32)
    q, kv, e = plan.heads * plan.head_dim, plan.kv_heads * plan.head_dim, plan.experts
    out = {"token_embd.weight": draw(VOCAB, plan.hidden)}
    for layer in range(plan.layers):
        block = {"attn_norm": norm(plan.hidden), "ffn_norm": norm(plan.hidden)}
        if e:
            block["ffn_gate_inp"] = 3 * draw(e, plan.hidden)
            block["ffn_gate_exps"] = draw(e, plan.ffn // 2, plan.hidden)
            block["ffn_up_exps"] = draw(e, plan.ffn // 2, plan.hidden)
            block["ffn_down_exps"] = draw(e, plan.hidden, plan.ffn // 2)
        else:
            block["ffn_gate"], block["ffn_up"] = draw(plan.ffn, plan.hidden), draw(plan.ffn, plan.hidden)
            block["ffn_down"] = draw(plan.hidden, plan.ffn)
        block["attn_q"], block["attn_k"] = draw(q, plan.hidden), draw(kv, plan.hidden)
        block["attn_v"], block["attn_output"] = draw(kv, plan.hidden), draw(plan.hidden, q)
        block["attn_q_norm"], block["attn_k_norm"] = norm(plan.head_dim), norm(plan.head_dim)
        out |= {f"blk.{layer}.{name}.weight": value for name, value in block.items()}
    out["output_norm.weight"] = 2 * norm(plan.hidden)
    if not plan.tied:
        out["output.weight"] = draw(VOCAB, plan.hidden)
    return out


def write_metadata(writer, plan):
    """The architecture's keys, named as llama.cpp's converter names them."""
    writer.add_type("model")
    writer.add_name(plan.title)
    writer.add_block_count(plan.layers)
    writer.add_context_length(plan.context)
    writer.add_embedding_length(plan.hidden)
    writer.add_feed_forward_length(plan.ffn)
    writer.add_head_count(plan.heads)
    writer.add_head_count_kv(plan.kv_heads)
    writer.add_key_length(plan.head_dim)
    writer.add_value_length(plan.head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    if plan.scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(plan.scaling["type"]))
        writer.add_rope_scaling_factor(plan.scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(plan.scaling["original_context_length"])
    if plan.experts:
        writer.add_expert_count(plan.experts)
        writer.add_expert_used_count(plan.experts_used)
        writer.add_expert_feed_forward_length(plan.ffn // 2)
    writer.add_file_type(plan.file_type)
    writer.add_quantization_version(2)


def write_tokenizer(writer, made):
    """The vocabulary, its merges, the special ids and the chat template."""
    names = [made.id_to_token(i) for i in range(VOCAB)]
    kinds = {**dict.fromkeys(CONTROL, gguf.TokenType.CONTROL), **dict.fromkeys(VISIBLE, gguf.TokenType.USER_DEFINED)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(names)
    writer.add_token_types([kinds.get(name, gguf.TokenType.NORMAL) for name in names])
    merges = json.loads(made.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in merges])
    writer.add_eos_token_id(names.index("<|im_end|>"))
    writer.add_pad_token_id(names.index("<|endoftext|>"))
    writer.add_bos_token_id(names.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template((FIXTURES / "qwen3-chat-template.jinja").read_text(encoding="utf-8"))


def write_model(path, plan, seed, made):
    """Writes the GGUF of one plan and seed."""
    writer = gguf.GGUFWriter(path, "qwen3moe" if plan.experts else "qwen3")
    write_metadata(writer, plan)
    write_tokenizer(writer, made)
    for name, value in tensors(plan, seed).items():
        kind = plan.kind(name)
        writer.add_tensor(name, pack(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def figures(path, plan, prompts):
    """What the oracle computes for the file, or None where some choice is too close for a test."""
    model, out = Qwen3(path), {}
    distinct, closest = set(), math.inf
    for i, ids in enumerate(prompts[: plan.prompts]):
        logits, chosen, margin = continuation(model, ids, GREEDY if plan.exact else 1)
        distinct |= set(chosen)
        closest = min(closest, margin)
        out[f"p{i}.ids"] = np.array(ids, dtype=np.int64)
        out[f"p{i}.logits"] = logits[-ROWS:].astype(np.float32)
        if plan.exact:
            out[f"p{i}.greedy"] = np.array(chosen, dtype=np.int64)
    if closest < plan.min_margin or model.closest_routing < plan.min_routing or (plan.exact and len(distinct) < 12):
        return None
    if not plan.exact and max(rounding_errors(path, prompts[: plan.prompts])) > MAX_ROUNDING:
        return None
    if plan.name == "dense-bf16":
        for scaling in ("linear", "yarn"):
            out[f"{scaling}.logits"] = scaled(path, scaling, prompts[2])
    print(f"  smallest margin {closest:.3f}, {len(distinct)} distinct tokens, routing {model.closest_routing:.3f}")
    return out


def rounding_errors(path, prompts, trials=8):
    """KL divergence, per prompt and trial, that 8-bit activations cause: once by rounding, then by random errors."""
    exact = Qwen3(path)
    for trial in range(trials):
        noise = np.random.default_rng(trial) if trial else None
        model = Qwen3(path)
        matrices = {n: w for n, w in model.weights.items() if w.ndim > 1 and "ffn_gate_inp" not in n}
        model.weights |= {n: Rounded(w, noise) for n, w in matrices.items() if n != "token_embd.weight"}
        model.weights["output.weight"] = Rounded(matrices.get("output.weight", matrices["token_embd.weight"]), noise)
        for ids in prompts:
            exact.reset(), model.reset()
            p, q = (log_softmax(m.forward(ids)[-ROWS:]) for m in (exact, model))
            yield (np.exp(p) * (p - q)).sum(axis=-1).mean()


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def scaled(path, scaling, ids):
    """Logits of the last rows with RoPE scaling by 4 from a context of 32, on a file whose metadata has none."""
    model = Qwen3(path)
    model.cfg.scaling, model.cfg.factor, model.cfg.original_context = scaling, 4.0, 32
    model.freqs, model.attention_factor = rope_frequencies(model.cfg)
    return model.forward(ids)[-ROWS:].astype(np.float32)


def make(folder):
    """Writes every plan's model and figures into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tokenizer()
    prompts = [made.encode(text).ids for text in PROMPTS]
    for plan in PLANS:
        path = folder / f"{plan.name}.gguf"
        for seed in range(1, 1000):
            write_model(path, plan, seed, made)
            found = figures(path, plan, prompts)
            if found is not None:
                break
        else:
            sys.exit(f"{plan.name}: no seed below 1000 gives choices clear enough")
        # One metadata key: safetensors writes several in an order that changes from run to run.
        about = {"seed": seed, "prompts": PROMPTS[: plan.prompts]}
        save_file(found, folder / f"{plan.name}.safetensors", {"about": json.dumps(about)})
        print(f"{path.name}: seed {seed}, {path.stat().st_size} bytes, prompts of {[len(p) for p in prompts]} tokens")


def check(folder, bound=1e-4):
    """Compares the oracle with every golden checkpoint in the folder; exits with 1 when one differs by more than bound."""
    good = True
    for case in sorted(folder.glob("*/golden.safetensors")):
        want = load_file(case)
        for path in sorted(case.parent.glob("lcpp-*.gguf")):
            beside = path.with_suffix(".golden.safetensors")
            logits = load_file(beside) if beside.exists() else want
            model = Qwen3(path)
            for prompt in ("p0", "p1", "p2"):
                expected = logits[f"{prompt}.logits"]
                got, chosen, _ = continuation(model, want[f"{prompt}.ids"], GREEDY if not beside.exists() else 1)
                diff = np.abs(got[-len(expected) :] - expected).max()
                same = beside.exists() or chosen == want[f"{prompt}.greedy"].tolist()
                good &= bool(diff <= bound) and same
                print(f"{case.parent.name}/{path.name} {prompt}: max |diff| {diff:.1e}, continuation {'same' if same else 'DIFFERS'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make").add_argument("--out", type=pathlib.Path, default=FIXTURES / "models")
    commands.add_parser("check").add_argument("golden", type=pathlib.Path)
    args = parser.parse_args()
    if args.command == "make":
        make(args.out)
    elif not check(args.golden):
        sys.exit("the oracle does not agree with the golden checkpoints")


if __name__ == "__main__":
    main()
