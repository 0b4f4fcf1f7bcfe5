"""`python -m keras_resnet.training`: trains a network from the command line."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import tyro

from keras_resnet.common.command import parse, run
from keras_resnet.common.errors import InputError, closest
from keras_resnet.training.recipes import RECIPES, Recipe, default_recipe
from keras_resnet.training.run_folder import read_record


@dataclass(frozen=True)
class Command:
    """Trains a residual network, or goes on with an interrupted run.

    `--set KEY=VALUE` changes a value of the recipe: `--set epochs=3 --set
    drops=0.5,0.75`. Exit status: 0 finished; 2 an input cannot be used, the folder
    cannot be written, or the loss is no longer finite; 130 interrupted.

    Attributes:
        model: which network: resnet20, resnet50_v2, ...; keras_resnet.list_models()
            names them.
        data: digits (embedded), any TFDS name (fashion_mnist, cifar10, imagenet2012,
            ...), or folder:PATH, images in a folder a class.
        recipe: where the values of the recipe come from; by default chosen for the
            model and the data.
        set: the values of the recipe, each also as `--set KEY=VALUE`.
        out: the run folder; by default runs/MODEL-DATA.
        resume: go on after the last finished epoch, with the settings in the folder's
            recipe.json.
        xla: whether XLA compiles the training step; auto does so on GPU and TPU, since
            it slows down a CPU.
        precision: of the layers; weights stay in float32.
        data_dir: folder of TFDS data sets; by default TFDS's own.
        strict: a broken image is an error, not left out.
    """

    set: tyro.conf.FlagConversionOff[Recipe]
    model: str | None = None
    data: str | None = None
    recipe: Literal[tuple(RECIPES)] | None = None
    out: Path | None = None
    resume: bool = False
    xla: Literal["auto", "on", "off"] = "auto"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    data_dir: Path | None = None
    strict: bool = False

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        if self.out:
            return self.out
        data = re.sub(r"[^\w.-]+", "-", f"{self.data}".removeprefix("folder:"))
        return Path("runs", f"{self.model}-{data.strip('-.')}")


def main(words: Sequence[str] | None = None) -> None:
    """Reads the command line and trains."""
    command = read(sys.argv[1:] if words is None else words)
    if not command.model or not command.data:
        raise InputError("--model and --data are needed; --help explains them.")
    from keras_resnet.training.fit import train

    train(
        command.model,
        command.data,
        command.set,
        command.folder,
        resume=command.resume,
        xla=command.xla,
        precision=command.precision,
        data_dir=command.data_dir,
        strict=command.strict,
    )


def read(words: Sequence[str]) -> Command:
    """The command; its defaults come from the recipe, or from the run to resume."""
    words = expand(words)
    # What the defaults depend on has to be known before `--help` can show them.
    plain = [word for word in words if word not in ("-h", "--help")]
    asked = _parse(plain, set=RECIPES["cifar"]())
    settings = {}
    if asked.resume and asked.folder.exists():
        record = read_record(asked.folder)
        recipe = Recipe.from_json(record["recipe"])
        settings = {key: record[key] for key in ("model", "data", "xla", "precision")}
    if asked.recipe or not settings:
        make = RECIPES[asked.recipe or _default_recipe(asked)]
        recipe = make(_parse(plain, set=make()).set.batch_size)
    return _parse(words, set=recipe, **settings)


def expand(words: Sequence[str]) -> list[str]:
    """`--set KEY=VALUE` as tyro spells it, `--set.KEY VALUE`.

    Raises:
        InputError: no such key, or no `=`.
    """
    known = [field.name for field in fields(Recipe)]
    spelled = {"true": "True", "false": "False"}
    expanded, words = [], iter(words)
    for word in words:
        option, equals, assignment = word.partition("=")
        if option != "--set":
            expanded.append(word)
            continue
        key, equals, value = (assignment if equals else next(words, "")).partition("=")
        if not equals:
            raise InputError(f"--set {key}: --set KEY=VALUE is needed.")
        if key not in known:
            advice = closest(key, known) or f" Known are {', '.join(known)}."
            raise InputError(f"--set {key}: a recipe has no such key.{advice}")
        if key == "image_size" and value.lower() == "none":  # of no other key
            value = "None"
        values = [spelled.get(one.lower(), one) for one in value.split(",") if one]
        expanded += [f"--set.{key}", *values]
    return expanded


def _default_recipe(command: Command) -> str:
    if command.model and command.data:
        return default_recipe(command.model, command.data)
    return "cifar"


def _parse(words: Sequence[str], **defaults) -> Command:
    return parse(
        Command,
        list(words),
        prog="python -m keras_resnet.training",
        default=Command(**defaults),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


if __name__ == "__main__":
    run(main)
