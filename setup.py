"""Package metadata. The index's `keras-resnet` is an unrelated, dead package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
LINUX_X86 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
ELSEWHERE = "sys_platform != 'linux' or platform_machine != 'x86_64'"
# A plugin for onnxruntime, fast on Intel processors; and the package itself, which
# writes and proves OpenVINO IR.
OPENVINO = ["onnxruntime-ep-openvino>=1.8.1", "openvino>=2026.4"]
LOADGEN = ["mlcommons-loadgen>=6.0.17"]  # MLPerf's scenarios

setup(
    name="keras-resnet-applications",
    version=re.search(
        r'__version__ = "(.+)"', (ROOT / "keras_resnet/__init__.py").read_text()
    )[1],
    license="Apache-2.0",
    description="Residual networks for Keras 3: build, train, export, measure.",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["keras_resnet*", "export*"]),
    package_data={"keras_resnet": ["py.typed", "images/*.csv", "weights/*.csv"]},
    install_requires=[
        "keras>=3.15",  # the models
        "safetensors>=0.6.1",  # weights as timm has them, never pickled
        "huggingface_hub>=1.20",  # published weights: cached, and a break resumed
        "h5py>=3.14",  # keras.applications' and keras-hub's weight files
        "ml_dtypes>=0.5.1",  # bfloat16 weights
        "pillow>=11",  # photographs
        "tensorflow>=2.21",  # training, data pipelines, SavedModel
        "tensorboard>=2.20",  # Keras's callback writes through it; TF leaves it out
        "tensorflow-datasets>=4.9.10",  # data sets
        "importlib_resources>=6; python_version < '3.12'",  # undeclared by TFDS
        "scikit-learn>=1.6",  # the embedded digits
        "tf2onnx>=1.17",  # conversion to ONNX
        "onnx>=1.18",  # checking and annotating ONNX files
        "onnx-ir>=1.1",  # the graph between conversion and file; streams weights
        "onnxscript>=0.7.2",  # constant folding and rewrite rules on that graph
        # running ONNX files; the GPU build runs on the CPU as well
        f"onnxruntime-gpu>=1.24; {LINUX_X86}",
        f"onnxruntime>=1.24; {ELSEWHERE}",
        "matplotlib>=3.10",  # curves and latency images
        "tqdm>=4.67",  # progress with images a second and time left
        "tyro>=1.0",  # command lines from dataclasses
        "psutil>=6",  # the machine's fingerprint beside a latency
    ],
    extras_require={
        # What an NVIDIA GPU adds. Two, since TensorFlow brings CUDA 12 and onnxruntime
        # CUDA 13: an environment for training, and one for measuring.
        "cuda": ["tensorflow[and-cuda]>=2.21"],
        "onnx-cuda": [
            "onnxruntime-gpu[cuda,cudnn]>=1.24",
            "nvidia-ml-py>=12.535",  # the energy that a GPU has used
        ],
        "openvino": OPENVINO,
        "loadgen": LOADGEN,
        "dev": [
            *OPENVINO,
            *LOADGEN,
            "pytest>=8.3",  # tests
            "pytest-timeout>=2.3",  # a hanging test fails
            "pytest-xdist>=3.8",  # two files of tests at a time
            "ruff~=0.17.6",  # lint and format; another minor formats in another way
            "pyright[nodejs]>=1.1.414",  # types; with its own node, from the index
        ],
        "docs": [
            "mkdocs>=1.6.1,<2",  # the site; 2 has no plugins
            "mkdocs-material>=9.8",  # its theme
            "mkdocstrings[python]>=1.0.8",  # the reference, from the docstrings
        ],
        "jax": ["jax>=0.10"],  # the JAX backend, for the slow test
    },
)
