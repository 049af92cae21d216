#!/usr/bin/env python3
"""Compares two GGUFs with the gguf Python package: metadata key by key (value and type), tensors byte by byte.

    check-conversion.py OURS THEIRS [--dequantize DUMP]

Says every difference; exits with 1 when there is any. With --dequantize, DUMP is a directory of files NAME.f32, raw f32
weights as another program dequantized them: each must equal what the package makes of OURS.
"""

import argparse
import pathlib
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


def dumped(reader, folder):
    for tensor in reader.tensors:
        want = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).ravel()
        got = np.fromfile(folder / f"{tensor.name}.f32", dtype="<f4")
        if not np.array_equal(want, got):
            yield f"tensor {tensor.name}: dequantized otherwise"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ours")
    parser.add_argument("theirs")
    parser.add_argument("--dequantize", type=pathlib.Path)
    args = parser.parse_args()
    ours, theirs = GGUFReader(args.ours), GGUFReader(args.theirs)
    found = list(differences(ours, theirs))
    if args.dequantize:
        found += dumped(ours, args.dequantize)
    print("\n".join(found) or f"{len(ours.tensors)} tensors and {len(fields(ours))} keys are equal")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
