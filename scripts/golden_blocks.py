"""Plain quantizers for the fixtures: K-quant blocks that the `gguf` package can read but not write; rounded products.

Quality is not the point (llama.cpp searches for better scales): what matters is that the bits are laid out right, which
`pack` proves by reading every block back with the independent `gguf` package.
"""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T


def half(x):
    """Rounds to what an f16 field holds."""
    return x.astype(np.float16)


def ratio(a, b):
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape, np.float32), where=b != 0)


def q4_k(x):
    """Blocks of 256 in 8 groups of 32: value = d * scale * q - dmin * min, q of 4 bits, scale and min of 6."""
    groups = x.reshape(-1, 8, 32)
    low = np.maximum(-groups.min(axis=2), 0)
    step = (groups.max(axis=2) + low) / 15
    d, dmin = half(step.max(axis=1, keepdims=True) / 63), half(low.max(axis=1, keepdims=True) / 63)
    scale = np.rint(ratio(step, d.astype(np.float32))).clip(0, 63).astype(np.uint8)
    bias = np.rint(ratio(low, dmin.astype(np.float32))).clip(0, 63).astype(np.uint8)
    unit = (d * scale.astype(np.float32))[..., None]
    q = np.rint(ratio(groups + (dmin * bias.astype(np.float32))[..., None], unit)).clip(0, 15).astype(np.uint8)
    scales = np.concatenate(
        [
            scale[:, :4] | (scale[:, 4:] >> 4) << 6,
            bias[:, :4] | (bias[:, 4:] >> 4) << 6,
            (scale[:, 4:] & 15) | (bias[:, 4:] & 15) << 4,
        ],
        axis=1,
    )
    pairs = q.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    return np.concatenate([d.view(np.uint8), dmin.view(np.uint8), scales, nibbles], axis=1)


def q6_k(x):
    """Blocks of 256 in 16 groups of 16: value = d * scale * (q - 32), q of 6 bits, scale a signed byte."""
    groups = x.reshape(-1, 16, 16)
    step = np.abs(groups).max(axis=2) / 31
    d = half(step.max(axis=1, keepdims=True) / 127)
    scale = np.rint(ratio(step, d.astype(np.float32))).clip(-128, 127).astype(np.int8)
    unit = (d * scale.astype(np.float32))[..., None]
    q = (np.rint(ratio(groups, unit)).clip(-32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.concatenate([q[:, :, :2] & 15 | (q[:, :, 2:] & 15) << 4], axis=2).reshape(-1, 128)
    high = q >> 4
    high = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(-1, 64)
    return np.concatenate([low, high, scale.view(np.uint8), d.view(np.uint8)], axis=1)


# Largest relative error (rms of the difference over rms of the values) that a right layout stays below.
ERROR_BOUND = {T.F32: 0.0, T.BF16: 0.01, T.F16: 0.001, T.Q8_0: 0.02, T.Q5_0: 0.1, T.Q4_0: 0.2, T.Q4_K: 0.2, T.Q6_K: 0.05}
OWN = {T.Q4_K: (q4_k, 256), T.Q6_K: (q6_k, 256)}


def pack(x, kind):
    """The bytes of f32 array x [.., columns] as blocks of `kind` (a row of bytes per row of x), checked by reading back."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    if kind == T.F32:
        return x
    if kind in OWN:
        quantize, block = OWN[kind]
        assert x.shape[-1] % block == 0, f"{kind.name} needs rows of whole blocks of {block}, not {x.shape[-1]}"
        data = np.ascontiguousarray(quantize(x.reshape(-1, block))).reshape(*x.shape[:-1], -1)
    else:
        data = gguf.quants.quantize(x, kind)
    error = np.sqrt(np.mean((gguf.quants.dequantize(data, kind) - x) ** 2) / np.mean(x**2))
    assert error <= ERROR_BOUND[kind], f"{kind.name}: relative error {error:.3f} says that the layout is wrong"
    return data


class Rounded:
    """A weight matrix whose products first round the other side to 8 bits in blocks of 32, as fast engines do.

    `noise` (a random generator) replaces the rounding by a random error of its size: another engine's rounding.
    """

    __array_ufunc__ = None  # numpy then leaves `x @ Rounded` to us

    def __init__(self, weight, noise=None):
        self.weight, self.noise = weight, noise

    @property
    def T(self):
        return self

    def round(self, x):
        blocks = x.reshape(*x.shape[:-1], -1, 32)
        step = np.maximum(np.abs(blocks).max(axis=-1, keepdims=True), 1e-30) / 127
        if self.noise is not None:
            return (blocks + step * self.noise.uniform(-0.5, 0.5, blocks.shape)).reshape(x.shape)
        return (np.rint(blocks / step) * step).reshape(x.shape)

    def __rmatmul__(self, x):
        return self.round(x) @ self.weight.T

    def __getitem__(self, expert):
        return Rounded(self.weight[expert], self.noise)

    def __matmul__(self, x):
        return self.weight @ self.round(x)
