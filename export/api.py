"""Exports a Keras model to a file, and verifies that the file computes the same.

    from export import export
    export(model, "exported/resnet50.onnx")
    export(model, "exported/resnet50.tflite", ExportConfig(output="logits"))

`run_export` is the one driver of every format: refuse, load, prepare, convert, write,
verify, describe, report. A format is a subclass of `Format` in a file of its own and a
row in `FORMATS`.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from export.config import ExportConfig
from export.model.source import Loaded, Source, load
from keras_resnet.common.command import step
from keras_resnet.common.errors import InputError
from keras_resnet.common.files import refuse_existing, size_of, write_beside

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
        layout: of its input, "nhwc" or "nchw".
        summary: what the last line says of the artifact, beside its size.
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
        self.layout, self.summary = "nhwc", ""

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
    return run_export(format_class, path, options, loaded)


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
    return run_export(format_class, path or command.out, command, command)


def run_export(
    format_class: type[Format],
    path: str | os.PathLike,
    config: ExportConfig,
    source: Loaded | Source,
) -> dict:
    """Exports a model: the same steps for every format.

    Args:
        format_class: the format.
        path: where to write.
        config: the options.
        source: the model, or what to load where it is certain that it can be written.

    Returns:
        The metadata.
    """
    path = Path(path)
    format_class.refuse(path, config.force)
    if isinstance(source, Source):
        with step("loading", config.verbose):
            source = load(source, config.input_size)
    with step("preparing", config.verbose):
        from export.model.metadata import describe
        from export.model.signature import make_signature
        from export.parity.images import real_images
        from export.parity.verify import verify

        signature = make_signature(
            source.model,
            card=source.card,
            output=config.output,
            top=config.top,
            preprocess=config.preprocess,
            input_size=source.input_size,
            batch=config.batch,
        )
        images = real_images(source.images, signature)
    artifact = format_class(signature, config, images)
    converted = artifact.convert()
    metadata = describe(signature, source.origin, artifact.packages, artifact.layout)
    metadata |= converted
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
        size = size_of(part.parent)
        artifact.place(part, path)
    artifact.finish(path, metadata)
    if config.verbose:
        print(f"{path}: {size / 1e6:.1f} MB{artifact.summary}")
        print(parity or "not verified against the model")
    return metadata
