#!/usr/bin/env python3
"""Compares two GGUFs with the gguf Python package: metadata key by key (value and type), tensors byte by byte.

    check-conversion.py OURS THEIRS
    check-conversion.py --dequantize QUANTIZED F32

Says every difference; exits with 1 when there is any. With --dequantize, F32 is what `lapwing quantize --allow-requantize
QUANTIZED F32.gguf F32` made of QUANTIZED: each tensor must equal what the package dequantizes it to.
"""

import argparse
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


def fields(reader):
    keys = [key for key in reader.fields if not key.startswith("GGUF.")]
    return {key: ([t.name for t in reader.fields[key].types], reader.fields[key].contents()) for key in keys}


def differences(ours, theirs):
    a, b = fields(ours), fields(theirs)
    for key in sorted(set(a) | set(b)):
        if key not in a or key not in b:
            yield f"key {key}: only in {'theirs' if key in b else 'ours'}"
        elif a[key] != b[key]:
            yield f"key {key}: {str(a[key])[:120]} and {str(b[key])[:120]}"
    a, b = ({t.name: t for t in r.tensors} for r in (ours, theirs))
    for name in sorted(set(a) | set(b)):
        if name not in a or name not in b:
            yield f"tensor {name}: only in {'theirs' if name in b else 'ours'}"
            continue
        x, y = a[name], b[name]
        if list(x.shape) != list(y.shape) or x.tensor_type != y.tensor_type:
            yield f"tensor {name}: {list(x.shape)} {x.tensor_type.name} and {list(y.shape)} {y.tensor_type.name}"
        elif not np.array_equal(np.asarray(x.data).view(np.uint8), np.asarray(y.data).view(np.uint8)):
            yield f"tensor {name}: other bytes"


def dequantized(quantized, plain):
    floats = {t.name: t for t in plain.tensors}
    for tensor in quantized.tensors:
        want = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).ravel()
        if not np.array_equal(want, np.asarray(floats[tensor.name].data).ravel()):
            yield f"tensor {tensor.name} ({tensor.tensor_type.name}): dequantized otherwise"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours")
    parser.add_argument("theirs")
    parser.add_argument("--dequantize", action="store_true")
    args = parser.parse_args()
    ours, theirs = GGUFReader(args.ours), GGUFReader(args.theirs)
    found = list((dequantized if args.dequantize else differences)(ours, theirs))
    what = "dequantized alike" if args.dequantize else f"equal, and so are {len(fields(ours))} keys"
    print("\n".join(found) or f"{len(ours.tensors)} tensors are {what}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
