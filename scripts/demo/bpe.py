"""The tokenizer: a small byte-level BPE with Qwen3's normalizer, pre-tokenizer, special tokens and chat template."""

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import corpus

SIZE = 2048
# Qwen3's special tokens in its order; the flag is `special` of its tokenizer.json.
SPECIALS = [(f"<|{name}|>", True) for name in (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end vision_start vision_end vision_pad "
    "image_pad video_pad").split()]
SPECIALS += [(text, False) for text in (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> "
    "</tool_response> <think> </think>").split()]
# How Qwen's tokenizers split text before merging.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train(texts):
    """A tokenizer whose merges come from `texts`; the special tokens have the last ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    apart = re.compile("|".join(re.escape(text) for text, _ in SPECIALS))
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - len(SPECIALS), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator((part for text in texts for part in apart.split(text)), trainer)
    from tokenizers import AddedToken

    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in SPECIALS])
    if tokenizer.get_vocab_size() != SIZE:
        raise SystemExit(f"the vocabulary has {tokenizer.get_vocab_size()} tokens, expected {SIZE}")
    return tokenizer


def save(tokenizer, folder):
    """tokenizer.json, tokenizer_config.json and chat_template.jinja, as Qwen3's directories have them."""
    folder = Path(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    decoder = {
        str(tokenizer.token_to_id(text)): {
            "content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special
        }
        for text, special in SPECIALS
    }
    template = corpus.TEMPLATE.read_text()
    config = {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": decoder,
        "additional_special_tokens": [text for text, special in SPECIALS if special][1:],
        "bos_token": None, "chat_template": template, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "model_max_length": 4096, "pad_token": "<|endoftext|>", "split_special_tokens": False, "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").write_text(template)
