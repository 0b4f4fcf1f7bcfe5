"""From an architecture and a recipe to a compiled network: SGD, schedule, XLA."""

import inspect
from typing import Any

import keras
from keras import ops

from keras_resnet.architectures import Architecture
from keras_resnet.common.errors import InputError
from keras_resnet.model import build
from keras_resnet.training.pipeline import Data
from keras_resnet.training.recipes import Recipe

JIT_COMPILE = {"auto": "auto", "on": True, "off": False}  # xla -> Keras's argument


def compile_network(
    architecture: Architecture, data: Data, recipe: Recipe, xla: str, precision: str
) -> keras.Model:
    """The network with its first weights, its loss and its optimizer.

    Args:
        architecture: what to build.
        data: that it is to be trained on.
        recipe: how to train.
        xla: a key of JIT_COMPILE.
        precision: Keras's dtype policy of the layers.

    Raises:
        InputError: the images are too small for the network, or fewer than a batch.
    """
    height, width, _ = data.input_shape
    if min(height, width) < architecture.total_stride:
        raise InputError(
            f"images of {data.name!r} are {height}x{width}, and {architecture.name} "
            f"needs {architecture.total_stride} pixels a side: set image_size, or "
            "choose a model for smaller images, such as resnet20."
        )
    steps = data.steps_per_epoch(recipe.batch_size)
    keras.utils.set_random_seed(recipe.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = build(
            architecture,
            input_shape=data.input_shape,
            classes=len(data.labels),
            classifier_activation=None,
        )
    finally:
        keras.config.set_dtype_policy(policy)
    network.compile(
        optimizer=make_optimizer(recipe, network, steps),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
        jit_compile=JIT_COMPILE[xla],
    )
    return network


def make_optimizer(
    recipe: Recipe, model: keras.Model, steps_per_epoch: int
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, for the trainable variables of `model`.

    Args:
        recipe: what to make.
        model: whose variables will be trained.
        steps_per_epoch: batches in an epoch.
    """
    options = {
        "learning_rate": make_schedule(recipe, recipe.epochs * steps_per_epoch),
        "momentum": float(recipe.momentum),
        "nesterov": recipe.nesterov,
    }
    if not recipe.decoupled:
        return L2SGD(recipe.weight_decay, recipe.decay_norms, **options)
    optimizer = keras.optimizers.SGD(weight_decay=recipe.weight_decay, **options)
    if not recipe.decay_norms:
        vectors = [v for v in model.trainable_variables if _is_vector(v)]
        optimizer.exclude_from_weight_decay(var_list=vectors)
    return optimizer


def make_schedule(recipe: Recipe, steps: int):
    """The learning rate as a function of the step, over a run of `steps` steps.

    The warm-up is linear from zero to the peak. Step s uses the value at s, s = 0, 1,
    ..., so the first step of a warm-up has the learning rate 0.
    """
    peak, warmup = float(recipe.learning_rate), round(recipe.warmup * steps)
    if recipe.schedule == "step":
        boundaries = [round(drop * steps) for drop in recipe.drops]
        return WarmupStepDecay(peak, boundaries, recipe.drop_factor, warmup)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    # With very few steps the warm-up may take them all; Keras wants one to decay in.
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup
    )


@keras.saving.register_keras_serializable("keras_resnet")
class WarmupStepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from zero, then a constant that drops at given steps.

    Keras's PiecewiseConstantDecay has no warm-up.

    Args:
        peak: learning rate after the warm-up.
        boundaries: steps from which on the rate is multiplied by `factor` once more.
        factor: of each drop.
        warmup_steps: steps of the warm-up; 0 for none.
    """

    def __init__(self, peak, boundaries, factor, warmup_steps):
        super().__init__()
        self.peak = peak
        self.boundaries = list(boundaries)
        self.factor = factor
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        warm = ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        rate = self.peak * warm
        for boundary in self.boundaries:
            rate = rate * ops.where(step < boundary, 1.0, self.factor)
        return ops.cast(rate, "float32")

    def get_config(self):
        return {
            "peak": self.peak,
            "boundaries": self.boundaries,
            "factor": self.factor,
            "warmup_steps": self.warmup_steps,
        }


@keras.saving.register_keras_serializable("keras_resnet")
class L2SGD(keras.optimizers.SGD):
    """SGD with the gradient of (l2 / 2) * w**2 added to w's, as torch.optim.SGD does.

    Keras's own `weight_decay` is decoupled: it does not pass through the momentum.

    Args:
        l2: strength of the decay.
        decay_vectors: whether biases and the scales and offsets of normalisations
            decay too.
        **options: of keras.optimizers.SGD.
    """

    def __init__(self, l2=0.0, decay_vectors=True, **options):
        super().__init__(**options)
        self.l2 = l2
        self.decay_vectors = decay_vectors

    def update_step(self, gradient, variable, learning_rate):
        if self.l2 and (self.decay_vectors or not _is_vector(variable)):
            gradient = ops.add(gradient, ops.multiply(self.l2, variable))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        config = super().get_config()
        return config | {"l2": self.l2, "decay_vectors": self.decay_vectors}


def _is_vector(variable) -> bool:
    """Whether it is a bias, or a normalisation's scale or offset."""
    return len(variable.shape) < 2


def explain_xla(asked: str, model: keras.Model) -> str:
    """One sentence on what Keras made of a choice.

    Args:
        asked: a key of JIT_COMPILE.
        model: compiled with that choice.
    """
    if asked == "off":
        return "off, as asked for"
    if model.jit_compile:
        return "on, as asked for" if asked == "on" else "on, as Keras chooses here"
    on_cpu = keras.distribution.list_devices()[0].startswith("cpu")
    if asked == "auto" and on_cpu:
        # ResNet-20 and ResNet-50 were both measured 2 to 3 times slower with it.
        return "off: it slows down a CPU"
    if keras.backend.backend() == "tensorflow":  # see keras's `model_supports_jit`
        from tensorflow.python.framework.config import is_op_determinism_enabled

        if is_op_determinism_enabled():
            return "off: Keras turns it off where TensorFlow's op determinism is on"
    return "off: Keras does not support it for this model on this system"


def step_is_compiled(model: keras.Model, batches) -> bool | None:
    """Whether the training step that ran was compiled: looked up in its graph.

    None where this version of Keras keeps the graph elsewhere.

    Args:
        model: after `fit`.
        batches: the data set that it was fitted to; nothing is drawn from it.
    """
    if keras.backend.backend() != "tensorflow":
        return bool(model.jit_compile)
    # Keras keeps the traced function in a closure; the lookup traces nothing anew.
    train_function: Any = model.train_function
    step = inspect.getclosurevars(train_function).nonlocals.get(
        "multi_step_on_iterator"
    )
    if step is None:
        return None
    traced = step.get_concrete_function(iter(batches))
    return any(
        "_XlaMustCompile" in operation.node_def.attr
        and operation.get_attr("_XlaMustCompile")
        for operation in traced.graph.get_operations()
    )
