"""`train`: one run, from data to a folder with a fitted model."""

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf  # the data's; Keras's backend may be another

from keras_resnet.architectures import Architecture, get_architecture
from keras_resnet.common.errors import InputError
from keras_resnet.common.fingerprint import fingerprint
from keras_resnet.common.numbers import check_choice
from keras_resnet.saving import Card
from keras_resnet.training import run_folder
from keras_resnet.training.augment import Augmentation
from keras_resnet.training.callbacks import (
    Checkpoints,
    DivergedError,
    TrainingProgress,
    restore,
)
from keras_resnet.training.compile import (
    JIT_COMPILE,
    compile_network,
    explain_xla,
    step_is_compiled,
)
from keras_resnet.training.data import load
from keras_resnet.training.pipeline import Data
from keras_resnet.training.recipes import Recipe
from keras_resnet.training.run_folder import State

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def train(
    model: str | Architecture,
    data: str | Data,
    recipe: Recipe,
    out: str | PathLike,
    *,
    resume: bool = False,
    xla: str = "auto",
    precision: str = "float32",
    data_dir: Path | None = None,
    strict: bool = False,
) -> Path:
    """Trains a network, or goes on with a run that was interrupted.

    Seeds the random generators of Python, NumPy and the backend with the recipe's
    seed. On a CPU the same call gives the same weights.

    Args:
        model: a name (`keras_resnet.list_models`) or an architecture.
        data: as `keras_resnet.training.data.load` takes it, or what that returned.
        recipe: how to train; its image_size counts where `data` is a name.
        out: the run folder; must not exist, unless `resume`.
        resume: go on after the last finished epoch of the run in `out`. Without such
            a folder a new run begins; a finished run is left as it is.
        xla: whether XLA compiles the training step: "on", "off", or "auto": on for
            GPU and TPU.
        precision: Keras's dtype policy: "float32", "mixed_bfloat16" or
            "mixed_float16".
        data_dir: as `keras_resnet.training.data.load` takes it.
        strict: as `keras_resnet.training.data.load` takes it.

    Returns:
        The run folder. best.keras in it is the model with the highest validation
        accuracy; its outputs are logits.

    Raises:
        InputError: an argument cannot be used, the folder cannot be written, or the
            loss is no longer finite (the last finished epoch is kept).
    """
    check_choice("xla", xla, JIT_COMPILE)
    check_choice("precision", precision, PRECISIONS)
    out = Path(out)
    architecture = get_architecture(model) if isinstance(model, str) else model
    record = {
        "model": architecture.name,
        "architecture": json.loads(json.dumps(asdict(architecture))),
        "data": data if isinstance(data, str) else data.name,
        "recipe": recipe.to_json(),
        "xla": xla,
        "precision": precision,
    }
    begun = run_folder.is_begun(out, resume)
    if begun:
        run_folder.require_same(out, record)
        if (out / run_folder.REPORT).exists():  # which is written last
            print(f"{out}: the run is finished; nothing to do.")
            return out
    elif resume:
        print(f"{out}: nothing to resume; a new run begins.")
    if isinstance(data, str):
        data = load(
            data, image_size=recipe.image_size, data_dir=data_dir, strict=strict
        )
    record["images"] = {
        "train_examples": data.train_examples,
        "validation_examples": data.validation_examples,
        "input_shape": data.input_shape,
        "labels": data.labels,
    }
    network = compile_network(architecture, data, recipe, xla, precision)
    if begun:
        run_folder.require_same(out, record)
        run_folder.remove_leftovers(out)
    else:
        run_folder.begin(out, record, data)
    _run(_Run(network, architecture, data, recipe, record, out))
    return out


@dataclass(frozen=True)
class _Run:
    """What the parts of a run share."""

    network: keras.Model
    architecture: Architecture
    data: Data
    recipe: Recipe
    record: dict
    out: Path

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.data.steps_per_epoch(self.recipe.batch_size)

    def batches(self, first_epoch: int, epochs: int):
        """The training batches of the epochs first_epoch ... epochs - 1."""
        recipe = self.recipe
        return self.data.training(
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            first_epoch=first_epoch,
            epochs=epochs,
            augmentation=Augmentation(
                recipe.augmentation, padding=recipe.padding, flip=recipe.flip
            ),
        )

    def validation(self):
        """The validation batches."""
        return self.data.validation(batch_size=self.recipe.batch_size)


def _run(run: _Run) -> None:
    """Fits the epochs that are left, and writes what a finished run leaves."""
    state = restore(run.network, run.out)
    progress = TrainingProgress(
        run.recipe.epochs, state.epoch, run.steps, run.recipe.batch_size
    )
    print(_headline(run, state), flush=True)
    compiled = _fit(run, state, progress) if state.epoch < run.recipe.epochs else None
    run_folder.write_log(run.out / run_folder.LOG, state)
    title = f"{run.architecture.name} on {run.data.name}"
    run_folder.draw_curves(run.out / run_folder.CURVES, state, title)
    xla = {"asked": run.record["xla"], "compiled": compiled}
    record = run.record | {
        "parameters": run.network.count_params(),
        "xla": xla | {"explanation": explain_xla(xla["asked"], run.network)},
        "first_step_seconds": progress.first_step_seconds,
        "results": run_folder.results(state),
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "machine": fingerprint(),
    }
    run_folder.write_json(run.out / run_folder.REPORT, record)
    print(
        f"best: {state.best_accuracy:.2%} of the validation images in epoch "
        f"{state.best_epoch}; all files are in {run.out}"
    )


def _headline(run: _Run, state: State) -> str:
    data, resumed = run.data, f", {state.epoch} of them finished before"
    return (
        f"{run.architecture.name}, {run.network.count_params():,} parameters, on "
        f"{data.name}: {data.train_examples:,} images to train on, "
        f"{data.validation_examples:,} to validate with\n"
        f"{run.recipe.epochs} epochs{resumed if state.epoch else ''}; "
        f"XLA {explain_xla(run.record['xla'], run.network)}"
    )


def _fit(run: _Run, state: State, progress: TrainingProgress) -> bool | None:
    """Fits the epochs that are left.

    Returns:
        Whether XLA really compiled the training step.
    """
    data, recipe, tensorboard = run.data, run.recipe, run.out / "tensorboard"
    training = {"data": data.name, "recipe": recipe.to_json()}
    card = Card(run.architecture, data.labels, data.preprocessing, training)
    batches = _one_hot(run.batches(state.epoch, recipe.epochs), len(data.labels))
    try:
        run.network.fit(
            batches,
            validation_data=_one_hot(run.validation(), len(data.labels)),
            steps_per_epoch=run.steps,
            initial_epoch=state.epoch,
            epochs=recipe.epochs,
            callbacks=[
                progress,
                Checkpoints(run.out, card, state, progress),
                keras.callbacks.TensorBoard(str(tensorboard), write_graph=False),
            ],
            shuffle=False,  # the data set brings its own order
            verbose=0,
        )
    except DivergedError as diverged:
        raise InputError(_advice(run, diverged)) from diverged
    except tf.errors.ResourceExhaustedError as error:
        raise InputError(
            f"batch_size={recipe.batch_size} of {run.architecture.name} does not fit "
            "into memory: begin a new run with a smaller one."
        ) from error
    except tf.errors.OpError as error:
        if str(tensorboard) not in error.message:
            raise
        reason = error.message.splitlines()[0].rpartition("; ")[2]
        raise InputError(f"cannot write {tensorboard}: {reason}.") from error
    return step_is_compiled(run.network, batches)


def _one_hot(batches, classes: int):
    """Labels as Keras's only loss with label smoothing wants them."""
    return batches.map(lambda images, labels: (images, tf.one_hot(labels, classes)))


def _advice(run: _Run, diverged: DivergedError) -> str:
    """Why the loss may be lost, and what to do."""
    if diverged.step:
        seen = run.batches(diverged.epoch - 1, diverged.epoch).take(diverged.step)
    else:
        seen = run.validation()
    if not all(np.isfinite(images).all() for images, _ in seen.as_numpy_iterator()):
        return f"{diverged}: the images of {run.data.name!r} hold NaN or infinity."
    tries = [
        f"a learning_rate below {run.recipe.learning_rate:g}",
        f"a warmup above {run.recipe.warmup:g}",
    ]
    if run.record["precision"] != "float32":
        tries.append("precision float32")
    kept = (
        f"epoch {diverged.epoch - 1} is kept" if diverged.epoch > 1 else "none is kept"
    )
    return f"{diverged}; {kept} in {run.out}. Try {' or '.join(tries)}."
