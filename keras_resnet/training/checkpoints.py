"""What a run keeps: the best model, the last finished epoch, the log.

An epoch is finished when `last.keras` has been renamed into place. All else follows
from that file, so a run that is killed at any moment goes on from there.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import keras

from keras_resnet.common.errors import InputError
from keras_resnet.saving import Card, read_member, save_model
from keras_resnet.training.progress import Progress
from keras_resnet.training.report import LOG, write_log

BEST, LAST = "best.keras", "last.keras"


@dataclass
class State:
    """All of a run that is not in the model or its optimizer.

    Attributes:
        epoch: finished epochs.
        best_epoch: the one with the highest validation accuracy, the earliest of
            several; 0 before the first.
        best_accuracy: its validation accuracy, in 0..1.
        history: one row an epoch: what the log holds.
        timing: one row an epoch: seconds, and training images a second.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    history: list[dict] = field(default_factory=list)
    timing: list[dict] = field(default_factory=list)


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

    def __init__(self, out: Path, card: Card, state: State, progress: Progress):
        super().__init__()
        self.out = out
        self.card = card
        self.state = state
        self.progress = progress

    def set_model(self, model):
        super().set_model(model)
        # The same layers and weights, without the optimizer and its state.
        self.bare = keras.Model(model.input, model.output, name=model.name)

    def on_epoch_end(self, epoch, logs=None):
        state, accuracy = self.state, logs["val_accuracy"]
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        state.epoch = epoch + 1
        state.history.append({"epoch": state.epoch, "learning_rate": rate, **logs})
        state.timing.append(self.progress.timing)
        if accuracy > state.best_accuracy:
            state.best_epoch, state.best_accuracy = state.epoch, accuracy
            result = {"epoch": state.epoch, "val_accuracy": accuracy}
            card = replace(self.card, training=self.card.training | result)
            save_model(self.bare, self.out / BEST, card, force=True)
        save_model(self.model, self.out / LAST, force=True, state=vars(state))
        write_log(self.out / LOG, state)
