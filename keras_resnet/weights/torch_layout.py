"""Names and axes of torch's tensors and of Keras's, in both directions.

A convolution's kernel is (out, in, height, width) in torch, (height, width, in, out) in
Keras; a classifier's (out, in), or a 1x1 convolution in timm's v2, and (in, out).
"""

import numpy as np

CLASSIFIERS = ("fc", "head.fc", "classifier")
_BLOCK = 32  # rows that are transposed together, so that reads stay in the cache
_KINDS = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    "v": "v",
    "tau": "tau",  # of EvoNorm and of filter response normalisation
}
_TORCH_KINDS = {ours: torch for torch, ours in _KINDS.items()} | {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
}


def canonical_kind(module: str, kind: str, ranks: dict[str, int]) -> str:
    """Keras's word for a tensor: `weight` -> `gamma` beside a `bias` that is `beta`.

    Args:
        module: path of the torch module.
        kind: the tensor's name in it.
        ranks: of every tensor of the file by its whole name.
    """
    vector = ranks.get(f"{module}.weight") == 1
    words = {
        "weight": "gamma" if vector else "kernel",
        "bias": "beta" if vector else "bias",
    }
    return words.get(kind) or _KINDS.get(kind, kind)


def torch_name(name: str) -> str:
    """`layer1.0.bn1/gamma` -> `layer1.0.bn1.weight`."""
    module, kind = name.rsplit("/", 1)
    return f"{module}.{_TORCH_KINDS[kind]}"


def keras_shape(module: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `to_keras` gives."""
    if len(shape) < 2:
        return shape
    space = () if module in CLASSIFIERS else shape[2:]
    return (*space, shape[1], shape[0])


def to_keras(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in Keras's layout; `shape` is `keras_shape(..., array.shape)`."""
    if array.ndim < 2:
        return array.astype("float32")  # a copy: a backend may keep what it is given
    source = array.reshape(*array.shape[:2], -1)
    target = np.empty(source.shape[::-1], "float32")
    for start in range(0, len(source), _BLOCK):
        rows = slice(start, start + _BLOCK)
        target[:, :, rows] = source[rows].transpose(2, 1, 0)
    return target.reshape(shape)


def to_torch(array: np.ndarray) -> np.ndarray:
    """The way back; contiguous, as safetensors wants it."""
    if array.ndim < 2:
        return array
    *space, inputs, outputs = array.shape
    flat = array.reshape(-1, inputs, outputs).transpose(2, 1, 0)
    return np.ascontiguousarray(flat).reshape(outputs, inputs, *space)
