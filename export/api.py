"""Exports a Keras model to a file, and verifies that the file computes the same.

    from export import export
    export(model, "exported/resnet50.onnx")
    export(model, "exported/resnet50.tflite", ExportConfig(output="logits"))

`run_export` is the one driver of every format: refuse, load, prepare, convert, write,
verify, describe, report. A format is a subclass of `Format` in a file of its own and a
row in `FORMATS`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from export.model.choices import (
    DEFAULT_TOP,
    OutputKind,
    PreprocessKind,
    check_choices,
)
from export.model.source import Loaded, load
from export.steps import step
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, write_beside
from keras_resnet.common.numbers import check_number

if TYPE_CHECKING:
    import keras

    from export.model.signature import Signature
    from export.parity.images import ImageArrays
    from export.parity.verify import Run
    from keras_resnet.saving import Card

FORMATS = {  # the suffix of a path -> the class of its format
    ".onnx": "export.onnx.Onnx",
    ".tflite": "export.litert.LiteRT",
    ".xml": "export.openvino.OpenVINO",
    "": "export.savedmodel.SavedModel",
}


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What can be asked of every format.

    Raises:
        InputError: a value is none of those accepted.
    """

    output: OutputKind = "probabilities"
    """Softmax, or what goes into it, whatever the model ends in; the best classes; the
    stages' feature maps; or what enters the classifier."""
    top: int = DEFAULT_TOP
    """Number of classes, for output "top_k"."""
    preprocess: PreprocessKind = "none"
    """What the artifact does to images: nothing; normalize uint8 images of the
    network's size; or resize and crop uint8 images of any size as well."""
    input_size: tuple[int, int] | None = None
    """Height and width, for an architecture's name or a model that takes any size."""
    batch: int | None = None
    """Number of images at once. Default: any."""
    verify: bool = True
    """Run the artifact and the Keras model on the same images, and compare."""
    tolerance: float | None = None
    """Largest difference from the Keras model, as a share of the outputs' spread.
    Default: the precision's."""
    force: bool = False
    """Replace what stands there."""
    verbose: bool = True
    """Print the steps and the result."""

    def __post_init__(self):
        check_choices(self.output, self.top, self.preprocess, self.batch)
        if self.tolerance is not None:
            check_number("tolerance", self.tolerance, above=0)


class Format:
    """One format of artifacts: a subclass for each, an instance for each export.

    Attributes:
        suffix: of its paths; "" for a folder.
        packages: that its artifacts are made with, beside Keras and TensorFlow.
        config_class: `ExportConfig`, or a subclass with options of its own.
        signature: what is exported.
        config: the options.
        images: real images to verify on, or None.
        precision: of the artifact, a key of `export.parity.verify.TOLERANCES`.
    """

    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type[ExportConfig]] = ExportConfig

    def __init__(
        self,
        signature: "Signature",
        config: Any,
        images: "ImageArrays | None" = None,
    ):
        self.signature, self.config, self.images = signature, config, images
        self.precision = "float32"
        self.layout = "nhwc"

    @classmethod
    def beside(cls, path: Path) -> tuple[Path, ...]:
        """The files that an export to `path` writes beside it."""
        return ()

    @classmethod
    def refuse(cls, path: Path, force: bool) -> None:
        """Raises an InputError where nothing can or may be written to `path`."""
        if path.suffix != cls.suffix:
            raise InputError(f"{path}: a name that ends in {cls.suffix} is needed.")
        for file in (path, *cls.beside(path)):
            if file.is_dir():
                raise InputError(f"{file} is a folder: choose another path.")
            refuse_existing(file, force)

    def convert(self) -> dict:
        """Makes what `write` writes; returns what the metadata says of it."""
        return {}

    def write(self, path: Path, metadata: dict) -> None:
        """Writes the artifact to `path`, and other files beside it."""
        raise NotImplementedError

    def attach(self, path: Path, metadata: dict) -> None:
        """Writes the metadata again, with the parity, into the artifact at `path`."""
        self.write(path, metadata)

    def open(self, path: Path) -> "Run":
        """The artifact as a function of images, in the runtime that it is made for."""
        raise NotImplementedError

    def place(self, part: Path, path: Path) -> None:
        """Moves the files beside `part` to their places beside `path`.

        The artifact itself takes its place after this: until then, an earlier one
        stays whole.
        """
        for file in part.parent.iterdir():
            if file != part:
                with write_beside(path.with_name(file.name), force=True) as place:
                    file.rename(place)

    def finish(self, path: Path, metadata: dict) -> None:
        """What remains to be done when the artifact stands at `path`."""

    def summary(self) -> str:
        """What the last line says of the artifact, beside its size."""
        return ""


def export(
    model: "keras.Model",
    path: str | os.PathLike,
    config: ExportConfig | None = None,
    *,
    card: "Card | None" = None,
    images: Any = None,
    origin: dict | None = None,
) -> dict:
    """Exports a model to the format that the path's suffix says.

        >>> model = keras_resnet.build("resnet20")
        >>> metadata = export(model, "resnet20.onnx", ExportConfig(verbose=False))
        >>> metadata["outputs"]
        [{'name': 'probabilities', 'kind': 'probabilities'}]

    `.onnx` is ONNX, `.tflite` LiteRT, `.xml` an OpenVINO IR, and a path without a
    suffix is the folder of a SavedModel.

    Args:
        model: a functional or sequential Keras model with one image input, as
            `export.model.signature.make_signature` takes it.
        path: where to write.
        config: the options: an `ExportConfig`, or the format's own, such as
            `export.onnx.OnnxConfig(opset=18)`.
        card: what travelled with the weights; None takes the model's own card.
        images: real images to verify on, uint8 (N, height, width, channels): an array,
            an .npz file that holds one as `images`, or a folder of images.
        origin: where the weights are from, beside what the card tells: "source",
            "weights" and "sha256", or some.

    Returns:
        The metadata, as the artifact holds it.

    Raises:
        InputError: an argument cannot be used, the model has no such form, or a file
            cannot be written.
        ParityError: the artifact differs from the model by more than the tolerance.
            In any case, what stood at `path` before is as it was.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        suffixes = ", ".join(filter(None, FORMATS))
        raise InputError(
            f"{path}: the suffix tells the format; accepted are {suffixes}, and none "
            "for the folder of a SavedModel."
        )
    module, _, name = FORMATS[path.suffix].rpartition(".")
    format_class = getattr(import_module(module), name)
    options = ExportConfig() if config is None else config
    if type(options) is ExportConfig:
        options = format_class.config_class(**vars(options))
    if type(options) is not format_class.config_class:
        raise InputError(
            f"config={type(options).__name__}: {path.suffix or 'a folder'} takes "
            f"{format_class.config_class.__name__} or ExportConfig."
        )
    loaded = Loaded(model, options.input_size, images, origin, card)
    return run_export(format_class, path, options, lambda: loaded)


def export_source(
    format_class: type[Format], command: Any, path: Path | None = None
) -> dict:
    """What every export command does.

    Args:
        format_class: the format.
        command: the parsed command line: a `Source` that is the format's config too.
        path: where to write; None for `command.out`.
    """
    for name in ("images", "tolerance"):
        value = getattr(command, name)
        if value is not None and not command.verify:
            raise InputError(
                f"{name}={value} is for the verification, which --no-verify leaves "
                "out: leave one of them out."
            )
    if command.any_size and (command.input_size or command.preprocess == "full"):
        raise InputError(
            "any_size is on, and input_size or preprocess='full' sets the network's "
            "size: leave one of them out."
        )

    def load_source() -> Loaded:
        with step("loading", command.verbose):
            return load(command, command.input_size)

    return run_export(format_class, path or command.out, command, load_source)


def run_export(
    format_class: type[Format],
    path: str | os.PathLike,
    config: ExportConfig,
    load_model: Callable[[], Loaded],
) -> dict:
    """Exports a model: the same steps for every format.

    Args:
        format_class: the format.
        path: where to write.
        config: the options.
        load_model: gives the model, when it is certain that it can be written.

    Returns:
        The metadata.
    """
    path = Path(path)
    format_class.refuse(path, config.force)
    loaded = load_model()
    with step("preparing", config.verbose):
        from export.model.metadata import describe
        from export.model.signature import make_signature
        from export.parity.images import real_images
        from export.parity.verify import verify

        signature = make_signature(
            loaded.model,
            card=loaded.card,
            output=config.output,
            top=config.top,
            preprocess=config.preprocess,
            input_size=loaded.input_size,
            batch=config.batch,
        )
        images = real_images(loaded.images, signature)
    artifact = format_class(signature, config, images)
    converted = artifact.convert()
    metadata = (
        describe(signature, loaded.origin, artifact.packages, artifact.layout)
        | converted
    )
    parity = None
    with write_beside(path, config.force) as part:
        with step("writing", config.verbose):
            artifact.write(part, metadata)
        if config.verify:
            with step("verifying", config.verbose):
                parity = verify(
                    signature,
                    artifact.open(part),
                    artifact.images,
                    precision=artifact.precision,
                    tolerance=config.tolerance,
                )
            metadata["parity"] = parity.to_json()
            artifact.attach(part, metadata)
        size = sum(f.stat().st_size for f in part.parent.rglob("*") if f.is_file())
        artifact.place(part, path)
    artifact.finish(path, metadata)
    if config.verbose:
        print(f"{path}: {size / 1e6:.1f} MB{artifact.summary()}")
        print(parity or "not verified against the model")
    return metadata
