"""A session of onnxruntime: providers that really loaded, threads, any batch.

    session = Session("resnet50.onnx", "cpu")
    session.run(images)  # what the file gives for one batch of its own form
    session.outputs(images)  # {"logits": ...} for any number of NHWC images

Needs onnxruntime and numpy alone. The file is the contract; what the exporter wrote
into its metadata is read back here, and never evaluated or followed.
"""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from export.runtime import METADATA_KEY, parse_metadata
from export.runtime.providers import (
    AUTO,
    check_installed,
    full_name,
    openvino_device,
    provider_names,
    why_not,
)
from export.runtime.readback import read_back
from export.runtime.settings import (
    MAX_THREADS,
    OPENVINO_PRECISIONS,
    cuda_options,
    openvino_options,
    sorted_options,
    tensorrt_options,
)
from keras_resnet.common.errors import InputError
from keras_resnet.common.numbers import check_whole

ENGINE_BATCH = 32  # largest batch of a TensorRT engine where nothing else is said

DTYPES = {  # what images come in
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}

# In onnxruntime's messages. Of memory: what the CPU's allocator, C++ and CUDA say.
NO_MEMORY = re.compile(
    r"failed to allocate|bad_alloc|out of memory|CUDNN_STATUS_ALLOC_FAILED", re.I
)
OUTSIDE = re.compile(r"escapes model directory|absolute path not allowed", re.I)
NO_DATA = re.compile(r"external data path does not exist", re.I)
SHORT_DATA = re.compile(r"out of bounds or can not|invalid external data", re.I)


class Session:
    """An onnxruntime session with one image input and one output or more.

    Several threads may call `run` at a time.

    Attributes:
        path: of the file; None for a model in memory.
        name: the path, or "the model", for messages.
        channels_first: whether the input is (N, C, H, W).
        providers: onnxruntime's names of the providers that really loaded, best
            first.
        missing: {short name: reason} of what "auto" tried and could not load.
        metadata: what the exporter wrote under "keras_resnet"; {} in other files.
        input_name, output_names: as in the file.
        input_shape: a whole number per axis, None where any size is taken.
        input_dtype: a numpy dtype.
    """

    def __init__(
        self,
        model: str | os.PathLike | bytes,
        providers: str | Sequence[str] = "auto",
        threads: int | None = None,
        *,
        spinning: bool = True,
        tf32: bool = False,
        precision: str | None = None,
        largest_input: Sequence[int | None] | None = None,
        options: Mapping[str, str] | None = None,
        layout: str | None = None,
    ):
        """Loads a model.

        Args:
            model: the path of an .onnx file, or the content of one.
            providers: "auto" takes those of TensorRT, CUDA and the CPU that load.
                One name, or several in order of preference, must all load: "cuda"
                keeps the whole graph on the GPU, ("cuda", "cpu") leaves to the CPU
                what CUDA cannot do. "openvino" is never taken unasked. Short names or
                onnxruntime's own.
            threads: of one operator on the CPU; None for one a physical core.
            spinning: let idle threads wait busily, onnxruntime's default. It gives
                the lowest latency on a quiet machine and a bad one where other
                work wants the processor. OpenVINO has threads of its own.
            tf32: let CUDA compute float32 in TF32, faster and less exact than the
                export's parity. TensorRT has no such option here and follows the
                environment variable NVIDIA_TF32_OVERRIDE.
            precision: that OpenVINO computes in what the file has in float32:
                "float32" (None too), "bfloat16" or "float16".
            largest_input: the largest images that will come, (N, H, W, C), None for
                what the file says. Read by TensorRT alone, whose engine serves batches
                of 1 to N. Default: 32 images of the file's size.
            options: more options of the session and its providers, name to text, of
                those in `export.runtime.settings.KNOWN`.
            layout: of the input, "nhwc" or "nchw"; None for what the exporter wrote
                into the file, and "nhwc" in files of others.

        Raises:
            InputError: the file cannot be read as ONNX, a named provider did not
                load, an option is unknown, or the model has not just one input.
        """
        check_installed()
        self.path = None if isinstance(model, bytes) else _existing_file(model)
        self.name = str(self.path or "the model")
        self._model = model if isinstance(model, bytes) else str(self.path)
        names = self._loading(providers)
        _check_precision(precision, names)
        added = sorted_options(options, names)
        self._settings = {name: dict(added[name]) for name in names}
        if "cuda" in names:
            self._settings["cuda"] = cuda_options(tf32) | added["cuda"]
        if "tensorrt" in names:
            profile = self._tensorrt_options(largest_input)
            self._settings["tensorrt"] = profile | added["tensorrt"]
        if "openvino" in names:
            self._settings["openvino"] = openvino_options(
                precision, threads, added["openvino"]
            )
        self._options = functools.partial(
            _session_options, threads, spinning, added["cpu"], "cpu" in names
        )
        self._largest_input = largest_input
        self._session = _load(self._model, self._options(), self._settings)
        self.providers = self._session.get_providers()
        self._describe()
        images = self.metadata.get("input")
        recorded = images.get("layout") if isinstance(images, dict) else None
        self.channels_first = (layout or recorded) == "nchw"

    def run(self, images: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """The model's output for `images`, (N, H, W, C) in the file's dtype.

        Returns:
            The array, or {output name: array} of a file with several outputs.

        Raises:
            InputError: the dtype or the shape is not the file's, memory is too small,
                or onnxruntime fails.
        """
        self._check(images)
        try:
            values = self._session.run([*self.output_names], {self.input_name: images})
        except Exception as error:  # onnxruntime's errors have no base class
            raise cannot_run(self.name, images, error) from error
        return self._one_or_by_name(values)

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name for any number of images.

        Args:
            images: (N, H, W, C) in the file's dtype, whatever its layout. Where its
                batch is fixed, they go through in parts of that size, and the last
                image fills up the last part.

        Raises:
            InputError: as of `run`; or there are no images.
        """
        if not len(images):
            raise InputError("images: one or more are needed.")
        if self.channels_first:
            images = images.transpose(0, 3, 1, 2)
        size = self.input_shape[0] or len(images)
        parts = [
            self.fill_and_run(images[start : start + size])
            for start in range(0, len(images), size)
        ]
        return {
            name: np.concatenate([part[name] for part in parts])
            for name in self.output_names
        }

    def fill_and_run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs by name for images in the file's layout.

        Where its batch is fixed, they may be fewer: the last one fills it up.
        """
        missing = (self.input_shape[0] or 0) - len(images)
        batch = images
        if missing > 0:
            batch = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        outputs = self.run(np.ascontiguousarray(batch))
        if not isinstance(outputs, dict):
            outputs = {self.output_names[0]: outputs}
        return {name: values[: len(images)] for name, values in outputs.items()}

    def bind(self, images: np.ndarray) -> Callable[[], Any]:
        """A function that runs the model on images already on the device.

        Input and outputs stay in the first provider's memory, and a call returns
        the output when it is there, an OrtValue or {output name: OrtValue}: its time
        is the computation's, without the copies between host and device.

        Raises:
            InputError: the dtype or the shape is not the file's; here or in a call,
                memory is too small, or onnxruntime fails.
        """
        self._check(images)
        on_gpu = self.providers[0] in (full_name("cuda"), full_name("tensorrt"))
        place = "cuda" if on_gpu else "cpu"
        binding = self._session.io_binding()
        try:
            on_device = ort.OrtValue.ortvalue_from_numpy(images, place, 0)
        except Exception as error:  # onnxruntime's errors have no base class
            raise cannot_run(self.name, images, error) from error
        binding.bind_ortvalue_input(self.input_name, on_device)
        for name in self.output_names:
            binding.bind_output(name, place, 0)

        def run_bound():
            try:
                self._session.run_with_iobinding(binding)
                binding.synchronize_outputs()
            except Exception as error:
                raise cannot_run(self.name, images, error) from error
            return self._one_or_by_name(binding.get_outputs())

        return run_bound

    @functools.cached_property
    def ran(self) -> dict[str, Any]:
        """Which provider computes, in what precision, as onnxruntime tells it.

        Read once, from the profile of a second session that runs one image: it takes
        the time and the memory of another load. What it says: as in `read_back`.
        """
        image = _filled(self._largest_input, self.input_shape)[1:]
        shape = (self.input_shape[0], *image)
        load = functools.partial(_load, self._model, settings=self._settings)
        return read_back(load, self._options(), shape, self.input_dtype)

    def _one_or_by_name(self, values: Sequence) -> Any:
        if len(values) == 1:
            return values[0]
        return dict(zip(self.output_names, values, strict=True))

    def _loading(self, providers: str | Sequence[str]) -> list[str]:
        """Short names of those that load; where they were named, all must."""
        names = provider_names(AUTO if providers == "auto" else providers)
        reasons = {name: why_not(name) for name in names}
        self.missing = {name: why for name, why in reasons.items() if why}
        if providers != "auto" and self.missing:
            name, why = next(iter(self.missing.items()))
            raise InputError(f"provider {name!r} did not load: {why}.")
        if "openvino" in names and names not in (["openvino"], ["openvino", "cpu"]):
            raise InputError(
                f"providers: {', '.join(names)}; openvino goes alone or before cpu."
            )
        return [name for name in names if name not in self.missing]

    def _describe(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or not outputs or inputs[0].type not in DTYPES:
            types = ", ".join(value.type for value in inputs)
            raise InputError(
                f"{self.name} has {len(inputs)} inputs ({types}) and {len(outputs)} "
                f"outputs; accepted are outputs and one input, {', '.join(DTYPES)}."
            )
        self.input_name = inputs[0].name
        self.output_names = tuple(value.name for value in outputs)
        self.input_dtype = np.dtype(DTYPES[inputs[0].type])
        self.input_shape = tuple(
            size if isinstance(size, int) else None for size in inputs[0].shape
        )
        written = self._session.get_modelmeta().custom_metadata_map
        self.metadata = parse_metadata(self.name, written.get(METADATA_KEY, "{}"))

    def _check(self, images: np.ndarray) -> None:
        fits = images.dtype == self.input_dtype and images.ndim == len(self.input_shape)
        if not fits or any(
            wanted not in (None, size)
            for wanted, size in zip(self.input_shape, images.shape, strict=True)
        ):
            wanted = ", ".join("any" if n is None else str(n) for n in self.input_shape)
            raise InputError(
                f"images: {images.dtype} of shape {images.shape}; {self.name} accepts "
                f"{self.input_dtype} of shape ({wanted})."
            )

    def _tensorrt_options(self, largest_input: Sequence[int | None] | None) -> dict:
        if self.path is None:
            raise InputError("providers: tensorrt takes files, not models in memory.")
        on_cpu = Session(self.path, "cpu")
        fixed = on_cpu.input_shape[0]
        batch, *image = _filled(largest_input, on_cpu.input_shape)
        known = [side for side in image if side is not None]
        if len(known) < len(image):
            raise InputError(
                f"{self.name} takes images of any size: TensorRT needs largest_input."
            )
        shape = (batch or ENGINE_BATCH, *known)
        return tensorrt_options(self.path, on_cpu.input_name, shape, fixed or 1)


def _existing_file(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file.")
    if not path.is_file():
        raise InputError(f"{path} is a folder; an .onnx file is accepted.")
    return path


def _filled(
    largest_input: Sequence[int | None] | None, shape: Sequence[int | None]
) -> tuple[int | None, ...]:
    """`largest_input`, with the file's own shape where it says None."""
    if not largest_input:
        return tuple(shape)
    if len(largest_input) != len(shape):
        raise InputError(
            f"largest_input={largest_input}: the file takes {len(shape)} axes."
        )
    return tuple(a or b for a, b in zip(largest_input, shape, strict=True))


def _check_precision(precision: str | None, names: Sequence[str]) -> None:
    if precision is not None and precision not in OPENVINO_PRECISIONS:
        raise InputError(
            f"precision={precision!r}: accepted are {', '.join(OPENVINO_PRECISIONS)}."
        )
    if precision not in (None, "float32") and "openvino" not in names:
        raise InputError(
            f"precision={precision!r}: {', '.join(names)} compute in the file's own; "
            "openvino has the choice."
        )


def _session_options(
    threads: int | None, spinning: bool, entries: Mapping[str, str], on_cpu: bool
) -> "ort.SessionOptions":
    if threads is not None:
        check_whole("threads", threads, 1, MAX_THREADS)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and need not be printed
    options.intra_op_num_threads = threads or 0
    configuration = {"session.intra_op.allow_spinning": "1" if spinning else "0"}
    if not on_cpu:
        configuration["session.disable_cpu_ep_fallback"] = "1"
    for name, value in {**configuration, **entries}.items():
        options.add_session_config_entry(name, value)
    return options


def _load(
    model: str | bytes, options: "ort.SessionOptions", settings: Mapping[str, dict]
) -> "ort.InferenceSession":
    """The session, with every provider in `settings` or an InputError."""
    providers = [(full_name(name), values) for name, values in settings.items()]
    try:
        if "openvino" in settings:  # then onnxruntime adds the CPU by itself
            options.add_provider_for_devices([openvino_device()], settings["openvino"])
            providers = None
        session = ort.InferenceSession(
            model, options, providers=providers, enable_fallback=False
        )
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise cannot_load(model, settings, error) from error
    lost = {full_name(name) for name in settings} - set(session.get_providers())
    if lost:
        name = "the model" if isinstance(model, bytes) else model
        raise InputError(f"{name}: {', '.join(lost)} loads, but not with this file.")
    return session


def cannot_load(
    model: str | bytes, providers: Iterable[str], error: Exception
) -> InputError:
    """For a file, or a model in memory, that makes no session."""
    message = " ".join(str(error).split())
    if OUTSIDE.search(message):
        reason = (
            "it wants weights from outside its own folder, which are not read "
            f"(external data): {_quoted(message)}"
        )
    elif NO_DATA.search(message):
        reason = (
            "the file with its weights (external data) is missing, it belongs beside "
            f"it: {_quoted(message)}"
        )
    elif SHORT_DATA.search(message):
        reason = "the file with its weights (external data) is too short"
    elif _no_memory(error, message):
        reason = "out of memory"
    else:
        # Without a CPU to help, what a provider cannot do is an error.
        hint = "" if "cpu" in providers else " (name the cpu, too, to let it help)"
        names = ", ".join(providers)
        reason = f"it cannot be read as ONNX on {names}{hint}: {message}"
    in_memory = isinstance(model, bytes)
    size = len(model) if in_memory else Path(model).stat().st_size
    name = "the model" if in_memory else model
    return InputError(f"{name} ({size} bytes) cannot be loaded: {reason}")


def cannot_run(name: str, images: np.ndarray, error: Exception) -> InputError:
    """For images that cannot be computed."""
    message = " ".join(str(error).split())
    if _no_memory(error, message):
        return InputError(
            f"{name}: out of memory with a batch of {len(images)} images of "
            f"{images.shape[1:]}; a smaller batch may fit."
        )
    return InputError(
        f"{name} cannot compute images of shape {images.shape}: {message}"
    )


def _no_memory(error: Exception, message: str) -> bool:
    return isinstance(error, MemoryError) or bool(NO_MEMORY.search(message))


def _quoted(message: str) -> str:
    """The path in onnxruntime's message; all of the message where it has none."""
    quoted = re.search(r'"([^"]+)"', message)
    return quoted[0] if quoted else message
