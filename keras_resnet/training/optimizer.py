"""From a recipe to a Keras optimizer: SGD, its weight decay and its schedule."""

import keras
from keras import ops

from keras_resnet.training.recipes import Recipe


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
        own = {"l2": self.l2, "decay_vectors": self.decay_vectors}
        return super().get_config() | own


def _is_vector(variable) -> bool:
    """Whether it is a bias, or a normalisation's scale or offset."""
    return len(variable.shape) < 2
