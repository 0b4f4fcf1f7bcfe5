"""Exports a model to ONNX, then runs the file without Keras.

python examples/export_and_serve.py
"""

import numpy as np

import keras_resnet
from export.onnx import export_onnx
from export.runtime import load

# Any model of keras_resnet will do; a trained one is `keras_resnet.load_model(path)`.
model = keras_resnet.build("resnet20", weights=None)

# The file is compared with the model in onnxruntime before it appears at its path.
# For a trained model, preprocess="normalize" puts the normalization into the file.
metadata = export_onnx(model, "resnet20.onnx", force=True)
print("comparison with Keras:", metadata["parity"])

# From here on only onnxruntime, NumPy and Pillow are used, as on a server. The weights
# are random and record no preprocessing, so the file takes normalized images.
predict = load("resnet20.onnx")
images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
print("probabilities:", predict(images).shape)
