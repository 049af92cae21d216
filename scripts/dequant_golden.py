# /// script
# requires-python = ">=3.10"
# dependencies = ["gguf==0.19.0", "numpy>=2"]
# ///
"""Writes tests/fixtures/formats: what the `gguf` Python package makes of the bytes of every format.

    pip install gguf==0.19.0 numpy
    python scripts/dequant_golden.py [--golden ../shared/golden]

TYPE.bin    blocks one after another, then their weights as f32, all little-endian. Random bytes, and every kind of
            scale an f16 can hold: zero, denormal, largest, infinite, NaN. Same bytes on every run.
golden.tsv  for every GGUF under --golden and each type in it: how many tensors and weights it has, and a hash of the
            dequantized weights. Left alone when --golden is absent.
"""

import argparse
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tests/fixtures/formats"

# Where the f16 scales of a block lie.
SCALES = {
    "F32": [], "F16": [0], "BF16": [],
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0],
}  # fmt: skip

# +0, -0, least and largest denormal, least normal, largest, both infinities, quiet and signalling NaN.
ODD = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E01, 0xFD01]


def fixture(name: str) -> bytes:
    """Blocks of one format: random ones, then all-zero and all-one bytes, then the odd scales."""
    qtype = GGMLQuantizationType[name]
    block_len, block_bytes = GGML_QUANT_SIZES[qtype]
    rng = np.random.default_rng(qtype.value)
    plain = {1: 200, 32: 12, 256: 2}[block_len]
    # Superblocks are large: two odd scales in each where it has two, every second odd value where it has one.
    odd = ODD if block_len < 256 else (ODD[::2] if len(SCALES[name]) == 2 else ODD[1::2] + ODD[:1])
    rows = rng.integers(0, 256, (plain + 2 + len(odd), block_bytes), dtype=np.uint8)
    rows[plain], rows[plain + 1] = 0, 255
    halves = np.array([*rng.normal(0, 0.02, plain)], dtype=np.float16).view(np.uint16)
    for n, row in enumerate(rows):
        for k, at in enumerate(SCALES[name]):
            if n < plain and block_len > 1:
                bits = halves[(n + k) % plain]
            elif n >= plain + 2:
                bits = odd[n - plain - 2] if k == 0 else ODD[(2 * (n - plain) + 5) % len(ODD)]
            else:
                continue
            row[at : at + 2] = np.array([bits], dtype="<u2").view(np.uint8)
    with np.errstate(all="ignore"):
        weights = dequantize(rows, qtype)
    assert weights.dtype == np.float32 and weights.size == len(rows) * block_len
    return rows.tobytes() + weights.astype("<f4").tobytes()


def hash_of(weights: np.ndarray, start: int) -> int:
    """Part of the sum over all i of mix(bits of weight i) * (i * K | 1), modulo 2^64; mix(b) = (b + 1) * K, folded once."""
    k = np.uint64(0x9E3779B97F4A7C15)
    mixed = (weights.reshape(-1).view(np.uint32).astype(np.uint64) + np.uint64(1)) * k
    mixed ^= mixed >> np.uint64(32)
    index = np.arange(start, start + mixed.size, dtype=np.uint64)
    return int((mixed * (index * k | np.uint64(1))).sum(dtype=np.uint64))


def golden_lines(golden: Path):
    for path in sorted(golden.rglob("*.gguf")):
        found = {}
        for tensor in GGUFReader(path).tensors:
            tensors, weights, total = found.get(tensor.tensor_type.name, (0, 0, 0))
            part = dequantize(tensor.data, tensor.tensor_type)
            total = (total + hash_of(part, weights)) % 2**64
            found[tensor.tensor_type.name] = (tensors + 1, weights + part.size, total)
        for name, (tensors, weights, total) in sorted(found.items()):
            yield f"{path.relative_to(golden).as_posix()}\t{name}\t{tensors}\t{weights}\t{total:016x}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, default=ROOT / "../shared/golden")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for name in SCALES:
        (OUT / f"{name}.bin").write_bytes(fixture(name))
    if args.golden.is_dir():
        with open(OUT / "golden.tsv", "w", encoding="ascii", newline="\n") as file:
            file.write("# file\ttype\ttensors\tweights\thash; written by scripts/dequant_golden.py\n")
            file.writelines(golden_lines(args.golden))
    else:
        print(f"{args.golden} is absent: golden.tsv is left as it is")


if __name__ == "__main__":
    main()
