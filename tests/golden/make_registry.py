"""Writes keras_resnet/weights/registry.csv: a row for every published set of weights.

    python tests/golden/make_registry.py results-imagenet.csv

The argument is timm's `results/results-imagenet.csv` (github.com/huggingface/
pytorch-image-models). Needs what make_parity.py needs. Figures that nobody publishes
stay empty.
"""

import csv
import sys
from pathlib import Path

import reference

TARGET = Path(__file__).parents[2] / "keras_resnet/weights/registry.csv"
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

# torchvision publishes pickles, which nothing here opens: its rows name timm's
# safetensors copies of them, by the tags that timm gives to the two recipes.
TORCHVISION_COPIES = {"IMAGENET1K_V1": "tv_in1k", "IMAGENET1K_V2": "tv2_in1k"}

# keras/src/applications/resnet.py of Keras 3.15: MD5 with and without the classifier.
# Top-1 from keras.io/api/applications, of a single central crop of 224 pixels
# (keras-team/keras-applications, README), for which He2015 resizes to 256; no
# interpolation is stated. Licences from the documentation of Keras 2.2.4: the weights
# are ported from KaimingHe/deep-residual-networks and facebook/fb.resnet.torch.
KERAS_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
KERAS_MD5 = {
    "resnet50": (
        "2cb95161c43110f7111970584f804107",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "resnet101": (
        "f1aeb4b969a6efcfb50fad2f0c20cfc5",
        "88cf7a10940856eca736dc7b7e228a21",
    ),
    "resnet152": (
        "100835be76be38e30d865e96f2aaae62",
        "ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
    "resnet50v2": (
        "3ef43a0b657b3be2300d5770ece849e0",
        "fac2f116257151a9d068a22e544a4917",
    ),
    "resnet101v2": (
        "6343647c601c52e1368623803854d971",
        "c0ed64b8031c3730f411d2eb4eea35b5",
    ),
    "resnet152v2": (
        "a49b44d1979771252814e80f8ec446f9",
        "ed17cf2e0169df9d443503ef94b23b33",
    ),
}
KERAS_TOP1 = {
    "resnet50": 74.9,
    "resnet101": 76.4,
    "resnet152": 76.6,
    "resnet50v2": 76.0,
    "resnet101v2": 77.2,
    "resnet152v2": 78.0,
}
# keras.applications.imagenet_utils, modes "caffe" and "tf".
CAFFE = {
    "mean": tuple(value / 255 for value in (103.939, 116.779, 123.68)),
    "std": (1 / 255,) * 3,
    "channel_order": "bgr",
}

# keras_hub/src/models/resnet/resnet_presets.py of keras-hub 0.32, and the timm weights
# that tools/checkpoint_conversion/convert_resnet_checkpoints.py makes them from. The
# same folders are on the Hugging Face hub as keras/<preset>, whose image_converter.json
# resizes without a margin. No top-1 is published with them.
KERAS_HUB_FROM_TIMM = {
    "resnet_18_imagenet": "resnet18.a1_in1k",
    "resnet_50_imagenet": "resnet50.a1_in1k",
    "resnet_101_imagenet": "resnet101.a1_in1k",
    "resnet_152_imagenet": "resnet152.a1_in1k",
    "resnet_v2_50_imagenet": "resnetv2_50.a1h_in1k",
    "resnet_v2_101_imagenet": "resnetv2_101.a1h_in1k",
}
KERAS_HUB_VD = {
    "resnet18_vd": ("resnet_vd_18_imagenet",),
    "resnet34_vd": ("resnet_vd_34_imagenet",),
    "resnet50_vd": (
        "resnet_vd_50_imagenet",
        "resnet_vd_50_ssld_imagenet",
        "resnet_vd_50_ssld_v2_imagenet",
        "resnet_vd_50_ssld_v2_fix_imagenet",
    ),
    "resnet101_vd": ("resnet_vd_101_imagenet", "resnet_vd_101_ssld_imagenet"),
    "resnet152_vd": ("resnet_vd_152_imagenet",),
    "resnet200_vd": ("resnet_vd_200_imagenet",),
}

COLUMNS = (
    "tag",
    "publisher",
    "hf_hub_id",
    "url",
    "md5",
    "license",
    "input_size",
    "crop_pct",
    "test_input_size",
    "test_crop_pct",
    "interpolation",
    "mean",
    "std",
    "channel_order",
    "num_classes",
    "classifier",
    "first_conv",
    "top1",
    "top1_img_size",
    "test_top1",
)


def timm_rows(results: dict) -> list[dict]:
    """Every tag that timm publishes for the table's networks."""
    tags = (
        tag for name in reference.TIMM for tag in reference.timm.list_pretrained(name)
    )
    return [_timm_row(tag, results.get(tag, {})) for tag in tags]


def _timm_row(tag, results):
    config = reference.timm.models.get_pretrained_cfg(tag)
    size, test = _side(config.input_size), _side(config.test_input_size)
    assert config.crop_mode == "center", tag
    return {
        "tag": tag,
        "publisher": "timm",
        "hf_hub_id": config.hf_hub_id,
        "license": config.license or "unknown",
        "input_size": size,
        "crop_pct": config.crop_pct,
        "test_input_size": test,
        "test_crop_pct": config.test_crop_pct,
        "interpolation": config.interpolation,
        "mean": config.mean,
        "std": config.std,
        "num_classes": config.num_classes,
        "classifier": config.classifier,
        "first_conv": config.first_conv,
        "top1": results.get(size),
        "top1_img_size": size if size in results else None,
        "test_top1": results.get(test),
    }


def _side(size):
    """Of a square image, from timm's (channels, height, width)."""
    if size is None:
        return None
    assert size[0] == 3 and size[1] == size[2], size
    return size[1]


def torchvision_rows(timm: dict) -> list[dict]:
    """Every enumerated set of weights of torchvision's ResNets and DenseNets."""
    models = reference.torchvision.models
    return [
        _torchvision_row(name, weights, timm)
        for name in reference.TORCHVISION
        for weights in models.get_model_weights(name)
    ]


def _torchvision_row(name, weights, timm):
    copy = timm[f"{name}.{TORCHVISION_COPIES[weights.name]}"]
    transforms = weights.transforms()
    size, resized = transforms.crop_size[0], transforms.resize_size[0]
    return {
        "tag": f"{name}.{weights.name}",
        "publisher": "torchvision",
        "hf_hub_id": copy["hf_hub_id"],
        "license": "bsd-3-clause",  # torchvision's own
        "input_size": size,
        "crop_pct": size / resized,
        "interpolation": transforms.interpolation.value,
        "mean": transforms.mean,
        "std": transforms.std,
        "num_classes": len(weights.meta["categories"]),
        "classifier": copy["classifier"],
        "first_conv": copy["first_conv"],
        "top1": weights.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        "top1_img_size": size,
    }


def keras_rows() -> list[dict]:
    """keras.applications' six; v1's also for the same networks without biases."""
    rows = []
    for name, hashes in KERAS_MD5.items():
        names = [f"{name}_keras"] if name in _V2 else [f"{name}_keras", f"{name}_v1"]
        for architecture in names:
            rows += _keras_pair(name, architecture, hashes)
    return rows


_V2 = ("resnet50v2", "resnet101v2", "resnet152v2")


def _keras_pair(name, architecture, hashes):
    common = {
        "publisher": "keras",
        "license": "bsd-3-clause" if name in _V2 else "mit",
        "input_size": 224,
        "crop_pct": 224 / 256,
        "interpolation": "bilinear",
        **(HALF if name in _V2 else CAFFE),
    }
    file = f"{KERAS_FOLDER}{name}_weights_tf_dim_ordering_tf_kernels"
    yield common | {
        "tag": f"{architecture}.keras",
        "url": f"{file}.h5",
        "md5": hashes[0],
        "num_classes": 1000,
        "top1": KERAS_TOP1[name],
        "top1_img_size": 224,
    }
    yield common | {
        "tag": f"{architecture}.keras_notop",
        "url": f"{file}_notop.h5",
        "md5": hashes[1],
        "num_classes": 0,
    }


def keras_hub_rows(timm: dict) -> list[dict]:
    """keras-hub's presets."""
    rows = []
    for preset, source in KERAS_HUB_FROM_TIMM.items():
        kept = ("input_size", "interpolation", "mean", "std")
        origin = {key: timm[source][key] for key in kept}
        rows.append(_preset(source.split(".")[0], preset, **origin))
    for architecture, presets in KERAS_HUB_VD.items():
        for preset in presets:
            vd = {"input_size": 224, "interpolation": "bilinear", **IMAGENET}
            rows.append(_preset(architecture, preset, **vd))
    return rows


def _preset(architecture, preset, **preprocessing):
    return {
        "tag": f"{architecture}.{preset}",
        "publisher": "keras_hub",
        "hf_hub_id": f"keras/{preset}",
        "license": "apache-2.0",  # the hub's model cards
        "crop_pct": 1.0,
        "num_classes": 1000,
        **preprocessing,
    }


def main() -> None:
    results = {}
    with Path(sys.argv[1]).open() as file:
        for row in csv.DictReader(file):
            results.setdefault(row["model"], {})[int(row["img_size"])] = row["top1"]
    timm = timm_rows(results)
    by_tag = {row["tag"]: row for row in timm}
    rows = [
        *timm,
        *torchvision_rows(by_tag),
        *keras_rows(),
        *keras_hub_rows(by_tag),
    ]
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            row = {"channel_order": "rgb"} | row
            writer.writerow({key: _text(value) for key, value in row.items()})


def _text(value):
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    main()
