"""`python -m keras_resnet.training`: trains a network from the command line."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import tyro

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError
from keras_resnet.training.recipes import (
    RECIPES,
    Recipe,
    default_recipe,
    get_recipe,
)
from keras_resnet.training.run_folder import read_record

if TYPE_CHECKING:
    Changes = dict[str, Any]
else:

    def _flag(name: str) -> tyro.conf.arg:
        """The help of a field: its description, and each recipe's value and source."""
        values: dict[str, list[str]] = {}
        for recipe, table in RECIPES.items():
            if name in table:
                value, source = table[name]
                values.setdefault(f"{value} ({source})", []).append(recipe)
        hint = "; ".join(f"{', '.join(names)}: {v}" for v, names in values.items())
        default = Recipe.__dataclass_fields__[name].default
        lines = re.search(
            rf"^ +{name}: (.+?)(?=^ +\w+: |\Z)", Recipe.__doc__, re.M | re.S
        )
        return tyro.conf.arg(
            help=" ".join(lines[1].split()),
            help_behavior_hint=f"[{hint or f'every recipe: {default}'}]",
        )

    # The values of a recipe that the command line changes: only those given.
    Changes = TypedDict(
        "Changes",
        {key.name: Annotated[key.type, _flag(key.name)] for key in fields(Recipe)},
        total=False,
    )


@dataclass(frozen=True)
class Command:
    """Trains a residual network, or goes on with an interrupted run.

    Values of the recipe are flags, too: `--epochs 3 --drops 0.5 0.75`. Exit status: 0
    finished; 2 an input cannot be used, the folder cannot be written, or the loss is
    no longer finite; 130 interrupted.

    Attributes:
        model: which network: resnet20, resnet50_v2, ...; keras_resnet.list_models()
            names them.
        data: digits (embedded), any TFDS name (fashion_mnist, cifar10, imagenet2012,
            ...), or folder:PATH, images in a folder a class.
        recipe: where the values of the recipe come from; by default chosen for the
            model and the data.
        changes: values of the recipe. Unless --learning-rate is among them, the
            learning rate follows --batch-size by the linear scaling rule.
        out: the run folder; by default runs/MODEL-DATA.
        resume: go on after the last finished epoch, with the settings in the folder's
            recipe.json.
        xla: whether XLA compiles the training step; auto, the default, does so on GPU
            and TPU, since it slows down a CPU.
        precision: of the layers, float32 by default; weights stay in float32.
        data_dir: folder of TFDS data sets; by default TFDS's own.
        strict: a broken image is an error, not left out.
    """

    model: str | None = None
    data: str | None = None
    recipe: Literal["cifar", "imagenet", "photos", "digits"] | None = None
    changes: tyro.conf.OmitArgPrefixes[tyro.conf.FlagConversionOff[Changes]] = field(
        default_factory=dict
    )
    out: Path | None = None
    resume: bool = False
    xla: Literal["auto", "on", "off"] | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] | None = None
    data_dir: Path | None = None
    strict: bool = False


def main(words: Sequence[str] | None = None) -> None:
    """Reads the command line and trains."""
    arguments = read(sys.argv[1:] if words is None else words)
    from keras_resnet.training.fit import train

    train(**arguments)


def read(words: Sequence[str]) -> dict[str, Any]:
    """The arguments of `train` that a command line stands for.

    What the command line leaves out comes from the run to resume, or else from the
    recipe and the defaults.

    Raises:
        InputError: a flag or a value cannot be used, or model or data is missing.
    """
    command: Command = parse(
        Command,
        list(words),
        prog="python -m keras_resnet.training",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    folder = command.out
    if folder is None:
        data = re.sub(r"[^\w.-]+", "-", f"{command.data}".removeprefix("folder:"))
        folder = Path("runs", f"{command.model}-{data.strip('-.')}")
    recorded = read_record(folder) if command.resume and folder.exists() else {}
    model = command.model or recorded.get("model")
    data = command.data or recorded.get("data")
    if not model or not data:
        raise InputError("--model and --data are needed; --help explains them.")
    return {
        "model": model,
        "data": data,
        "recipe": _recipe(command, model, data, recorded),
        "out": folder,
        "resume": command.resume,
        "xla": command.xla or recorded.get("xla", "auto"),
        "precision": command.precision or recorded.get("precision", "float32"),
        "data_dir": command.data_dir,
        "strict": command.strict,
    }


def _recipe(command: Command, model: str, data: str, recorded: Mapping) -> Recipe:
    if command.recipe is None and recorded:
        recipe = Recipe.from_json(recorded["recipe"])
    else:
        name = command.recipe or default_recipe(model, data)
        recipe = get_recipe(name, command.changes.get("batch_size"))
    return replace(recipe, **command.changes)


if __name__ == "__main__":
    run(main)
