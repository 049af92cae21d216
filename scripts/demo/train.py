"""Trains the demonstration model: `train.py OUT --seed N --minutes M`.

One process, one thread or many, CPU or GPU. Everything random follows from the seed; the learning rate follows the
share of the time (or of the steps) that has passed. OUT gets the checkpoint (safetensors, configuration, tokenizer)
as transformers saves it, and train.log with the losses.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3 import modeling_qwen3

import bpe
import corpus
import words


def options():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--minutes", type=float, default=50, help="wall time of training; the schedule fits it")
    p.add_argument("--steps", type=int, default=0, help="train this many steps instead, whatever the time")
    p.add_argument("--samples", type=int, default=240_000, help="conversations to generate")
    p.add_argument("--micro", type=int, default=2048, help="tokens of one pass, padding included (small ones stay in a core's cache)")
    p.add_argument("--accumulate", type=int, default=2, help="passes of one step")
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--adam", action="store_true", help="AdamW for all weights instead of Muon for the matrices")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--device", default="cpu")
    p.add_argument("--plain", action="store_true", help="do not compile the model (compiled, a CPU core does a third more)")
    p.add_argument("--words", type=Path, default=words.LIST)
    p.add_argument("--init", type=Path, help="go on from this checkpoint (its tokenizer is kept)")
    return p.parse_args()


def encode(tokenizer, pairs):
    """(ids, where the learned part begins) of each sample."""
    prompts = tokenizer.encode_batch_fast([p for p, _ in pairs], add_special_tokens=False)
    replies = tokenizer.encode_batch_fast([c for _, c in pairs], add_special_tokens=False)
    return [(p.ids + r.ids, len(p.ids)) for p, r in zip(prompts, replies)]


def pieces_of(tokenizer):
    """A function from words to the pieces they are made of inside a sentence."""
    return lambda list_: [e.tokens for e in tokenizer.encode_batch_fast([" " + w for w in list_], add_special_tokens=False)]


def batches(samples, size, rng):
    """Endless batches of samples of like length, at most `size` tokens with padding."""
    while True:
        order = list(range(len(samples)))
        rng.shuffle(order)
        for start in range(0, len(order), 4096):
            part = sorted(order[start : start + 4096], key=lambda i: len(samples[i][0]))
            made, batch, longest = [], [], 0
            for i in part:
                longest_next = max(longest, len(samples[i][0]))
                if batch and longest_next * (len(batch) + 1) > size:
                    made.append(batch)
                    batch, longest_next = [], len(samples[i][0])
                batch.append(samples[i])
                longest = longest_next
            made.append(batch)
            rng.shuffle(made)
            yield from made


def tensors(batch, device):
    """ids [n, t], positions whose next token is learned, and those tokens. Padding is at the right, where causal
    attention never looks back to it."""
    longest = max(len(ids) for ids, _ in batch)
    ids = torch.zeros((len(batch), longest), dtype=torch.long)
    rows, columns = [], []
    for row, (sample, start) in enumerate(batch):
        ids[row, : len(sample)] = torch.tensor(sample)
        rows += [row] * (len(sample) - start)
        columns += range(start - 1, len(sample) - 1)
    rows, columns = torch.tensor(rows), torch.tensor(columns)
    return ids.to(device), rows.to(device), columns.to(device), ids[rows, columns + 1].to(device)


def model_of(tokenizer):
    """A new model, 3.5 million parameters; row lengths are multiples of 256 for the K-quants."""
    special = tokenizer.token_to_id
    return Qwen3ForCausalLM(Qwen3Config(
        vocab_size=bpe.SIZE, hidden_size=256, intermediate_size=512, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, tie_word_embeddings=True, max_position_embeddings=4096, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=special("<|endoftext|>"), eos_token_id=special("<|im_end|>"), attn_implementation="eager",
    ))


def optimizers(model, args):
    """Muon for the matrices of the layers, AdamW for embeddings and norms."""
    if args.adam:
        return [torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)]
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def schedule(done):
    """Share of the learning rate at a share of the way: short warm-up, level, linear fall over the last half."""
    return min(1.0, done / 0.01 + 0.02, (1 - done) / 0.5 + 0.005)


def save(model, tokenizer, args):
    special = tokenizer.token_to_id
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.6, top_k=20, top_p=0.95, bos_token_id=special("<|endoftext|>"), pad_token_id=special("<|endoftext|>"),
        eos_token_id=[special("<|im_end|>"), special("<|endoftext|>")],
    )
    kept = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.state_dict().items()}
    half = Qwen3ForCausalLM(model.config).to(torch.bfloat16)
    half.load_state_dict(kept)
    half.generation_config = model.generation_config
    half.save_pretrained(args.out)
    bpe.save(tokenizer, args.out)


def prepare(args):
    """Tokenizer and samples."""
    vocabulary = words.load(args.words)
    if args.init:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(args.init / "tokenizer.json"))
    else:
        plain = corpus.generate(args.seed * 1000, 40_000, words.Pool(vocabulary), cards=False)
        tokenizer = bpe.train(prompt + reply for prompt, reply in plain)
    pool = words.Pool(vocabulary, pieces_of(tokenizer))
    pairs = list(corpus.generate(args.seed * 1000 + 1, args.samples, pool))
    return tokenizer, encode(tokenizer, pairs)


def main():
    args = options()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    # One fused operation instead of six; the values are the same to rounding.
    modeling_qwen3.Qwen3RMSNorm.forward = lambda s, x: F.rms_norm(x, (x.shape[-1],), s.weight.to(x.dtype), s.variance_epsilon)
    log = (args.out / "train.log").open("a")

    def say(**fields):
        print(json.dumps(fields), file=log, flush=True)
        print(json.dumps(fields), flush=True)

    begun = time.time()
    tokenizer, samples = prepare(args)
    say(seed=args.seed, samples=len(samples), tokens=sum(len(s) for s, _ in samples), learned=sum(len(s) - b for s, b in samples),
        torch=torch.__version__, prepared_s=round(time.time() - begun))
    model = model_of(tokenizer)
    if args.init:
        model.load_state_dict(Qwen3ForCausalLM.from_pretrained(args.init).state_dict())
    model.to(args.device)
    say(parameters=sum(p.numel() for p in model.parameters()))
    train(model, tokenizer, samples, args, say)
    save(model, tokenizer, args)


def train(model, tokenizer, samples, args, say):
    """Until the time or the steps are over."""
    opts = optimizers(model, args)
    forward = model.model if args.plain else torch.compile(model.model, dynamic=True)
    stream = batches(samples, args.micro, random.Random(args.seed))
    start, step, seen, sums, saved = time.time(), 0, 0, [], time.time()
    while True:
        done = step / args.steps if args.steps else (time.time() - start) / (60 * args.minutes)
        if done >= 1:
            return
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = args.lr * schedule(done)
        for _ in range(args.accumulate):
            ids, rows, columns, targets = tensors(next(stream), args.device)
            with torch.autocast(args.device, dtype=torch.bfloat16):
                hidden = forward(input_ids=ids, use_cache=False).last_hidden_state
                logits = model.lm_head(hidden[rows, columns])
            loss = F.cross_entropy(logits.float(), targets)
            (loss / args.accumulate).backward()
            seen += ids.numel()
            sums.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        step += 1
        if not math.isfinite(sums[-1]):
            raise SystemExit(f"step {step}: the loss is {sums[-1]}")
        if step % 50 == 0:
            say(step=step, tokens=seen, loss=round(sum(sums) / len(sums), 4), minutes=round((time.time() - start) / 60, 2))
            sums = []
        if time.time() - saved > 240:
            save(model, tokenizer, args)
            saved = time.time()


if __name__ == "__main__":
    main()
