"""Name-seeded weights in torch networks, and what the networks answer."""

import numpy as np
import seeded
import torch
from torch import nn

_KINDS = {  # torch's names -> ours, beside a 1-D weight and elsewhere
    True: {"weight": "gamma", "bias": "beta"},
    False: {"weight": "kernel", "bias": "bias"},
}
_STATISTICS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def set_weights(net: nn.Module, gain: float) -> None:
    """Draws every tensor from its name in this package's scheme."""
    for name, target in canonical(net).items():
        target.copy_(_tensor(name, target, gain))


def canonical(net: nn.Module) -> dict[str, torch.Tensor]:
    """The network's own tensors by names such as `layer1.0.conv1/kernel`."""
    state = net.state_dict()
    named = {}
    for name, target in state.items():
        layer, _, attribute = name.rpartition(".")
        if attribute == "num_batches_tracked":
            continue
        weight = state.get(f"{layer}.weight")
        kinds = _KINDS[weight is not None and weight.ndim == 1] | _STATISTICS
        named[f"{layer}/{kinds.get(attribute, attribute)}"] = target
    return named


def _tensor(name, target, gain):
    """The seeded tensor in torch's layout: OIHW kernels, (out, in) classifiers."""
    shape = tuple(target.shape)
    if name == "head.fc/kernel" and len(shape) == 4:  # a 1x1 convolution; ours is Dense
        return torch.tensor(seeded.tensor(name, shape[1::-1], gain).T).reshape(shape)
    order = {4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}[len(shape)]
    ours = seeded.tensor(name, tuple(shape[axis] for axis in order), gain)
    return torch.tensor(ours.transpose(np.argsort(order)))


def images(size: tuple[int, int], number: int = 2) -> torch.Tensor:
    """The seeded images, (number, 3, height, width)."""
    return torch.tensor(seeded.images(size, number).transpose(0, 3, 1, 2))


@torch.inference_mode()
def logits(net: nn.Module, size: tuple[int, int]) -> np.ndarray:
    """(2, classes) for the two seeded images."""
    return net(images(size)).numpy()
