"""torchvision's ResNet-50 as torch.onnx exports it. Needs torch, torchvision, onnx,
onnxscript; nothing of this package, whose Python may be another.

    /path/to/torch/bin/python benchmarks/torchvision_export.py torchvision.onnx

The exporter is the one that torch has had as its default since 2.9, the batch dynamic.
The weights are random, and so are the statistics of batch normalisation.
"""

import sys

import torch

try:
    import torchvision
except RuntimeError:  # its compiled operators do not fit this torch
    # Its Python wants their schemas only; no network here calls them.
    _schemas = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _schemas.define(
            f"{_operator}(Tensor boxes, Tensor scores, float iou) -> Tensor"
        )
    import torchvision

RANGES = {  # as keras_resnet's `randomize_normalization` has them
    "weight": (0.3, 0.7),
    "running_var": (0.5, 1.5),
    "bias": (-0.2, 0.2),
    "running_mean": (-0.2, 0.2),
}


def main(path: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for name, limits in RANGES.items():
                getattr(module, name).data.uniform_(*limits)
    torch.onnx.export(
        model,
        (torch.randn(2, 3, 224, 224),),
        path,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
        external_data=False,
        verbose=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
