"""Data and architecture to a fitted model: `python -m keras_resnet.training`."""
