"""Builds a network, classifies an image, and reads the feature maps inside.

    python examples/build_and_features.py

The weights are random here, so that no network connection is needed. With
`weights="imagenet"` the published weights are downloaded and the labels make sense.
"""

import keras
import numpy as np

import keras_resnet

# The names of all networks that begin with resnet1: resnet18, resnet101 and so on.
print(keras_resnet.list_models("resnet1*"))

# A complete classifier: images of 224 x 224 pixels in, 1,000 probabilities out.
model = keras_resnet.ResNet18(weights=None)
images = np.random.default_rng(0).uniform(size=(1, 224, 224, 3)).astype("float32")
probabilities = model.predict(images, verbose=0)
print("probabilities:", probabilities.shape)

# Without the classifier, the network takes images of any size. Each stage's output is
# a feature map, which a detector or a segmentation network builds upon.
backbone = keras_resnet.ResNet18(weights=None, include_top=False)
features = keras.Model(backbone.input, keras_resnet.feature_maps(backbone))
for name, values in features.predict(images, verbose=0).items():
    print(name, values.shape)
