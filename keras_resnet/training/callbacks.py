"""What happens after each step and epoch: the bar, the log, the checkpoints.

An epoch is finished when `last.keras` has been renamed into place. All else follows
from that file, so a run that is killed at any moment goes on from there.
"""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from keras_resnet.common.errors import InputError
from keras_resnet.common.progress import Progress
from keras_resnet.saving import Card, read_member, save_model
from keras_resnet.training.run_folder import BEST, LAST, LOG, State, write_log


class DivergedError(InputError):
    """The loss is no longer a finite number.

    Attributes:
        epoch: in which it happened, from 1.
        step: of the epoch, from 1; None if only the validation loss is lost.
    """

    def __init__(self, epoch: int, step: int | None, message: str):
        super().__init__(message)
        self.epoch = epoch
        self.step = step


class TrainingProgress(keras.callbacks.Callback):
    """The progress of the whole run, and one line an epoch.

    Args:
        epochs: of the whole run.
        first_epoch: epochs that were finished before.
        steps: batches in an epoch.
        batch_size: images in each.

    Attributes:
        timing: of the newest epoch: `seconds`, with validation, and training
            `images_per_second`, without the first step of the process, in which
            Keras traces and compiles.
        first_step_seconds: of the process; None before it.

    Raises:
        DivergedError: (while training) the loss is no longer finite.
    """

    def __init__(self, epochs: int, first_epoch: int, steps: int, batch_size: int):
        super().__init__()
        self.epochs = epochs
        self.batch_size = batch_size
        self.first_step_seconds: float | None = None
        self.bar = Progress(
            total=epochs * steps * batch_size,
            initial=first_epoch * steps * batch_size,
            unit=" images",
            unit_scale=True,
            leave=False,
            smoothing=0.05,  # a steady guess of the time left
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.bar.set_description(f"epoch {self.epoch}/{self.epochs}")
        self.began = self.measured_from = time.perf_counter()
        self.measured_steps = 0

    def on_train_batch_end(self, batch, logs: Any = None):
        # Keras's TensorBoard has fetched the loss from the device already.
        self._require_finite("loss", logs["loss"], step=batch + 1)
        now = time.perf_counter()
        if self.first_step_seconds is None:
            self.first_step_seconds = now - self.began
            self.measured_from = now
        else:
            self.measured_steps += 1
            self.measured_until = now
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self.bar.update(self.batch_size)

    def on_epoch_end(self, epoch, logs: Any = None):
        self._require_finite("val_loss", logs["val_loss"])
        seconds, speed = time.perf_counter() - self.began, None
        if self.measured_steps:  # none in a first epoch of a single step
            measured_seconds = self.measured_until - self.measured_from
            speed = self.measured_steps * self.batch_size / measured_seconds
        self.timing = {"seconds": seconds, "images_per_second": speed}
        line = (
            f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}"
            f"  loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.2%}"
            f"  val_loss {logs['val_loss']:.4f}"
            f"  val_accuracy {logs['val_accuracy']:.2%}"
            f"  {seconds:.1f} s" + (f"  {speed:,.0f} images/s" if speed else "")
        )
        with self.bar.external_write_mode():
            print(line, flush=True)

    def on_train_end(self, logs=None):
        self.bar.close()

    def _require_finite(self, name: str, value: float, step: int | None = None) -> None:
        if not math.isfinite(value):
            place = f"epoch {self.epoch}" + (f", step {step}" if step else "")
            self.bar.close()
            raise DivergedError(
                self.epoch, step, f"the {name} became {value} in {place}"
            )


class Checkpoints(keras.callbacks.Callback):
    """Writes `best.keras`, `last.keras` and `log.csv` after each epoch.

    The best model is written before the last: a run that is killed between the two
    repeats the epoch, with the same result.

    Args:
        out: the run folder.
        card: for the best model; each adds its epoch and accuracy.
        state: to begin from; kept up to date.
        progress: that measures the epochs.
    """

    def __init__(self, out: Path, card: Card, state: State, progress: TrainingProgress):
        super().__init__()
        self.out = out
        self.card = card
        self.state = state
        self.progress = progress

    def set_model(self, model):
        super().set_model(model)
        # The same layers and weights, without the optimizer and its state.
        self.bare = keras.Model(model.input, model.output, name=model.name)

    def on_epoch_end(self, epoch, logs: Any = None):
        state, model, accuracy = self.state, self.model, logs["val_accuracy"]
        assert model is not None  # `fit` has set it
        rate: Any = keras.ops.convert_to_numpy(model.optimizer.learning_rate)
        state.epoch = epoch + 1
        state.history.append(
            {"epoch": state.epoch, "learning_rate": float(rate), **logs}
        )
        state.timing.append(self.progress.timing)
        if accuracy > state.best_accuracy:
            state.best_epoch, state.best_accuracy = state.epoch, accuracy
            result = {"epoch": state.epoch, "val_accuracy": accuracy}
            card = replace(self.card, training=self.card.training | result)
            save_model(self.bare, self.out / BEST, card, force=True)
        save_model(model, self.out / LAST, force=True, state=vars(state))
        write_log(self.out / LOG, state)


def restore(model: keras.Model, out: Path) -> State:
    """Puts the last finished epoch into `model` and its optimizer.

    Args:
        model: compiled, as it was when the run began.
        out: the run folder.

    Returns:
        The state of that epoch; a fresh one where none was finished.

    Raises:
        InputError: the file is damaged or holds another model.
    """
    path = out / LAST
    if not path.exists():
        return State()
    record = read_member(path, "state")
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(path)
        return State(**record)
    except Exception as error:  # a damaged file can be wrong in any way
        reason = str(error).split("\n")[0]
        raise InputError(f"{path} cannot be resumed from: {reason}") from error
