"""Runs ONNX files: a session from a path, providers that really loaded, threads.

Needs onnxruntime and numpy alone: a machine that serves a file wants no
TensorFlow and no Keras. The file is the contract; what the exporter wrote into
its metadata is read back here.

    session = Session("resnet20.onnx")
    logits = session.run(images)  # (N, H, W, C) to (N, classes)
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from export.providers import (
    AUTO,
    cuda_options,
    full_name,
    provider_names,
    tensorrt_options,
    why_not,
)
from keras_resnet.errors import InputError

ENGINE_BATCH = 32  # largest batch of a TensorRT engine where nothing else is said

DTYPES = {  # what images come in
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class Session:
    """An onnxruntime session with one image input and one output.

    Attributes:
        path: of the file.
        providers: onnxruntime's names of the providers that really loaded, best
            first.
        missing: {short name: reason} of what "auto" tried and could not load.
        metadata: what the exporter wrote under "keras_resnet"; {} in other files.
        input_name, output_name: as in the file.
        input_shape: a whole number per axis, None where any size is taken.
        input_dtype: a numpy dtype.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        providers: str | Sequence[str] = "auto",
        threads: int | None = None,
        *,
        spinning: bool = True,
        tf32: bool = False,
        largest_input: Sequence[int] | None = None,
    ):
        """Loads the file.

        Args:
            path: an .onnx file.
            providers: "auto" takes those of TensorRT, CUDA and the CPU that load.
                One name, or several in order of preference, must all load: "cuda"
                keeps the whole graph on the GPU, ("cuda", "cpu") leaves to the CPU
                what CUDA cannot do. Short names or onnxruntime's own.
            threads: of one operator on the CPU; None for one a physical core.
            spinning: let idle threads wait busily, onnxruntime's default. It gives
                the lowest latency on a quiet machine and a bad one where other
                work wants the processor.
            tf32: let CUDA compute float32 in TF32, faster and less exact than the
                export's proof. TensorRT has no such option here and follows the
                environment variable NVIDIA_TF32_OVERRIDE.
            largest_input: the largest images that will come, (N, H, W, C). Read by
                TensorRT alone, whose engine serves batches of 1 to N. Default: 32
                images of the file's size.

        Raises:
            InputError: the file cannot be read as ONNX, a named provider did not
                load, or the model has not just one input and one output.
        """
        self.path = _existing_file(path)
        names = provider_names(AUTO if providers == "auto" else providers)
        reasons = {name: why_not(name) for name in names}
        self.missing = {name: why for name, why in reasons.items() if why}
        if providers != "auto" and self.missing:
            name, why = next(iter(self.missing.items()))
            raise InputError(f"provider {name!r} did not load: {why}.")
        names = [name for name in names if name not in self.missing]

        options = _session_options(threads, spinning)
        if "cpu" not in names:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings = {name: {} for name in names}
        if "cuda" in names:
            settings["cuda"] = cuda_options(tf32)
        if "tensorrt" in names:
            settings["tensorrt"] = self._tensorrt_options(largest_input)
        self._session = _load(self.path, options, settings)
        self.providers = self._session.get_providers()
        self._describe()

    def run(self, images: np.ndarray) -> np.ndarray:
        """The model's output for `images`, (N, H, W, C) in the file's dtype.

        Raises:
            InputError: the dtype or the shape is not the file's, or onnxruntime fails.
        """
        self._check(images)
        try:
            return self._session.run([self.output_name], {self.input_name: images})[0]
        except Exception as error:  # onnxruntime's errors have no base class
            raise InputError(
                f"{self.path} cannot compute images of shape {images.shape}: "
                f"{' '.join(str(error).split())}"
            ) from error

    def bind(self, images: np.ndarray) -> Callable[[], ort.OrtValue]:
        """A function that runs the model on images already on the device.

        Input and output stay in the first provider's memory, and a call returns
        the output when it is there: its time is the computation's, without the
        copies between host and device.

        Raises:
            InputError: the dtype or the shape is not the file's.
        """
        self._check(images)
        device = "cpu" if self.providers[0] == full_name("cpu") else "cuda"
        binding = self._session.io_binding()
        on_device = ort.OrtValue.ortvalue_from_numpy(images, device, 0)
        binding.bind_ortvalue_input(self.input_name, on_device)
        binding.bind_output(self.output_name, device, 0)

        def run_bound():
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return binding.get_outputs()[0]

        return run_bound

    def _describe(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type not in DTYPES:
            types = ", ".join(one.type for one in inputs)
            raise InputError(
                f"{self.path} has {len(inputs)} inputs ({types}) and {len(outputs)} "
                f"outputs; accepted are one output and one input, {', '.join(DTYPES)}."
            )
        self.input_name, self.output_name = inputs[0].name, outputs[0].name
        self.input_dtype = np.dtype(DTYPES[inputs[0].type])
        self.input_shape = tuple(
            size if isinstance(size, int) else None for size in inputs[0].shape
        )
        written = self._session.get_modelmeta().custom_metadata_map
        try:
            self.metadata = json.loads(written.get("keras_resnet", "{}"))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{self.path}: its metadata 'keras_resnet' is not JSON: {error}."
            ) from error
        if not isinstance(self.metadata, dict):
            raise InputError(
                f"{self.path}: its metadata 'keras_resnet' is no JSON object."
            )

    def _check(self, images: np.ndarray) -> None:
        fits = images.dtype == self.input_dtype and images.ndim == len(self.input_shape)
        if not fits or any(
            wanted not in (None, size)
            for wanted, size in zip(self.input_shape, images.shape, strict=True)
        ):
            wanted = ", ".join("any" if n is None else str(n) for n in self.input_shape)
            raise InputError(
                f"images: {images.dtype} of shape {images.shape}; {self.path.name} "
                f"accepts {self.input_dtype} of shape ({wanted})."
            )

    def _tensorrt_options(self, largest_input: Sequence[int] | None) -> dict:
        glance = Session(self.path, "cpu")
        shape = largest_input or (ENGINE_BATCH, *glance.input_shape[1:])
        if None in shape:
            raise InputError(
                f"{self.path} takes images of any size: TensorRT needs largest_input."
            )
        return tensorrt_options(self.path, glance.input_name, shape)


def _existing_file(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if not path.is_file():
        raise InputError(f"{path} is a folder; an .onnx file is accepted.")
    return path


def _session_options(threads: int | None, spinning: bool) -> ort.SessionOptions:
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads}: a whole number from 1 is accepted.")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors alone; they are raised, too
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if spinning else "0"
    )
    return options


def _load(
    path: Path, options: ort.SessionOptions, settings: dict[str, dict]
) -> ort.InferenceSession:
    """The session, with every provider in `settings` or an InputError."""
    providers = [(full_name(name), values) for name, values in settings.items()]
    try:
        session = ort.InferenceSession(
            str(path), options, providers=providers, enable_fallback=False
        )
    except Exception as error:  # onnxruntime's errors have no base class of their own
        hint = "" if "cpu" in settings else " (name the cpu, too, to let it help)"
        raise InputError(
            f"{path} ({path.stat().st_size} bytes) cannot be loaded as an ONNX file on "
            f"{', '.join(settings)}{hint}: {' '.join(str(error).split())}"
        ) from error
    lost = {full_name(name) for name in settings} - set(session.get_providers())
    if lost:
        raise InputError(f"{path}: {', '.join(lost)} loads, but not with this file.")
    return session
