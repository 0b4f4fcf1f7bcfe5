"""The bar, the line an epoch, the speed, and the watch for a loss that is lost."""

import math
import time

import keras
from tqdm import tqdm

from keras_resnet.common.errors import InputError


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


class Progress(keras.callbacks.Callback):
    """A bar over the whole run on a terminal, and one line an epoch anywhere.

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
        self.steps = steps
        self.batch_size = batch_size
        self.first_step_seconds = None
        self.bar = tqdm(
            total=epochs * steps * batch_size,
            initial=first_epoch * steps * batch_size,
            unit=" images",
            unit_scale=True,
            disable=None,  # where the output is no terminal
            leave=False,
            smoothing=0.05,  # a steady guess of the time left
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1
        self.bar.set_description(f"epoch {self.epoch}/{self.epochs}")
        self.began = self.measured_from = time.perf_counter()
        self.measured_steps = 0

    def on_train_batch_end(self, batch, logs=None):
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

    def on_epoch_end(self, epoch, logs=None):
        self._require_finite("val_loss", logs["val_loss"])
        self.timing = {
            "seconds": time.perf_counter() - self.began,
            "images_per_second": self._speed(),
        }
        self.bar.write(self._line(logs))

    def on_train_end(self, logs=None):
        self.bar.close()

    def _speed(self) -> float | None:
        """Images a second; None in a first epoch of a single step."""
        if not self.measured_steps:
            return None
        seconds = self.measured_until - self.measured_from
        return self.measured_steps * self.batch_size / seconds

    def _line(self, logs) -> str:
        speed = self.timing["images_per_second"]
        return (
            f"epoch {self.epoch:>{len(str(self.epochs))}}/{self.epochs}"
            f"  loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.2%}"
            f"  val_loss {logs['val_loss']:.4f}"
            f"  val_accuracy {logs['val_accuracy']:.2%}"
            f"  {self.timing['seconds']:.1f} s"
            + (f"  {speed:,.0f} images/s" if speed else "")
        )

    def _require_finite(self, name: str, value: float, step: int | None = None) -> None:
        if not math.isfinite(value):
            place = f"epoch {self.epoch}" + (f", step {step}" if step else "")
            self.bar.close()
            raise DivergedError(
                self.epoch, step, f"the {name} became {value} in {place}"
            )
