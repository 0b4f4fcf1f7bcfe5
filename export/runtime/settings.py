"""How a file is run: the options of a session, and the settings that are stored.

The names of options follow onnxruntime's documentation
(onnxruntime.ai/docs/execution-providers) and the strings inside onnxruntime-gpu 1.31
and OpenVINO 2026.4. Those of CUDA and TensorRT were not run on a GPU.

- `prefer_nhwc` and `fuse_conv_bias` (CUDA) may make float16 files faster or slower:
  `export.tune` tries them.
- `enable_cuda_graph` (CUDA) and `trt_cuda_graph_enable` replay one recording: they
  want one shape and images that are bound, `Session.bind`.
- TensorRT takes float16 from the file; its older flags for it are not accepted here,
  since TensorRT 11 has them no more.
- NUM_STREAMS and PERFORMANCE_HINT (OpenVINO) serve several callers at a time.

`export.tune` writes settings as JSON and `export.runtime.load` reads them. The JSON is
data: its types, names and values are checked against what a session knows, and it can
name no place to write to. It is for one file, one processor and one onnxruntime;
elsewhere it is not used.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import onnxruntime as ort

from export.runtime.providers import AUTO
from keras_resnet.common.errors import InputError, closest
from keras_resnet.common.files import write_beside
from keras_resnet.common.fingerprint import fingerprint, sha256
from keras_resnet.common.numbers import is_whole

# What a session has arguments for (providers, threads, spinning, tf32, precision) is
# not among them: two ways to say a thing can contradict each other.
KNOWN = {
    "cuda": (
        "prefer_nhwc",
        "fuse_conv_bias",
        "enable_cuda_graph",
        "cudnn_conv_algo_search",
        "cudnn_conv_use_max_workspace",
        "cudnn_conv1d_pad_to_nc1d",
        "gpu_mem_limit",
        "arena_extend_strategy",
        "do_copy_in_default_stream",
        "use_ep_level_unified_stream",
        "tunable_op_enable",
        "tunable_op_tuning_enable",
    ),
    "tensorrt": (
        "trt_builder_optimization_level",
        "trt_auxiliary_streams",
        "trt_max_workspace_size",
        "trt_min_subgraph_size",
        "trt_max_partition_iterations",
        "trt_build_heuristics_enable",
        "trt_sparsity_enable",
        "trt_tactic_sources",
        "trt_cuda_graph_enable",
        "trt_context_memory_sharing_enable",
        "trt_force_timing_cache",
        "trt_engine_hw_compatible",
        "trt_op_types_to_exclude",
        "trt_layer_norm_fp32_fallback",
        "trt_engine_cache_path",
        "trt_timing_cache_path",
    ),
    "openvino": (
        "NUM_STREAMS",
        "PERFORMANCE_HINT",
        "PERFORMANCE_HINT_NUM_REQUESTS",
        "ENABLE_CPU_PINNING",
        "ENABLE_CPU_RESERVATION",
        "SCHEDULING_CORE_TYPE",
        "ENABLE_HYPER_THREADING",
        "MODEL_DISTRIBUTION_POLICY",
        "CPU_DENORMALS_OPTIMIZATION",
        "TBB_PARTITIONER",
        "EXECUTION_MODE_HINT",
        "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE",
        "ENABLE_TENSOR_PARALLEL",
        "CACHE_DIR",
    ),
    "cpu": (
        "session.intra_op.spin_duration_us",
        "session.intra_op_thread_affinities",
        "session.set_denormal_as_zero",
        "session.force_spinning_stop",
        "session.disable_prepacking",
        "session.disable_quant_qdq",
        "session.enable_quant_qdq_cleanup",
        "session.x64quantprecision",
        "session.use_device_allocator_for_initializers",
        "optimization.disable_specified_optimizers",
    ),
}
# They name places to write to: a caller may give them, a file of settings may not.
PLACES = frozenset({"trt_engine_cache_path", "trt_timing_cache_path", "CACHE_DIR"})
OPENVINO_PRECISIONS = {  # OpenVINO's INFERENCE_PRECISION_HINT
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
}
OPENVINO_PLUGIN = "onnxruntime-ep-openvino"
# Hundreds on few processors would all be started, and take minutes.
MAX_THREADS = max(64, os.cpu_count() or 1)
MAX_BATCH = 2**16
MAX_SETTINGS_BYTES = 2**20
MAX_OPTION_CHARS = 1000  # of a value; onnxruntime itself fails at 8192


@dataclass(frozen=True)
class Settings:
    """Arguments of a `Session`, and the batch that they were chosen for.

    Attributes:
        providers, threads, spinning, precision, options: as `Session` takes them.
        batch: most images a call; None leaves it to whoever calls.
    """

    providers: tuple[str, ...] = AUTO[-1:]
    threads: int | None = None
    spinning: bool = True
    precision: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    batch: int | None = None

    def session_arguments(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "batch"}

    @classmethod
    def from_json(cls, record: Any) -> "Settings":
        """What `dataclasses.asdict` gave; an InputError if it is anything else."""
        names = {f.name for f in fields(cls)}
        if not isinstance(record, dict) or record.keys() != names:
            raise InputError(f"settings: exactly {', '.join(sorted(names))} are needed")
        options, known = record["options"], {n for k in KNOWN.values() for n in k}
        valid = {
            "providers": _are_names(record["providers"], {*AUTO, "openvino"}),
            "threads": _is_count(record["threads"], MAX_THREADS),
            "spinning": isinstance(record["spinning"], bool),
            "precision": record["precision"] in (None, *OPENVINO_PRECISIONS),
            "options": isinstance(options, dict)
            and _are_names([*options], known - PLACES, least=0)
            and all(isinstance(value, str) for value in options.values()),
            "batch": _is_count(record["batch"], MAX_BATCH),
        }
        for name, fits in valid.items():
            if not fits:
                raise InputError(f"settings: {name}={record[name]!r} cannot be used")
        arguments: dict[str, Any] = record | {"providers": tuple(record["providers"])}
        return cls(**arguments)


def _are_names(values: Any, choices: set[str], least: int = 1) -> bool:
    whole = isinstance(values, list) and len(values) >= least
    return whole and all(isinstance(n, str) and n in choices for n in values)


def _is_count(value: Any, most: int) -> bool:
    return value is None or is_whole(value, 1, most)


def tuned_path(path: str | os.PathLike) -> Path:
    """Where the settings of a file stand: model.onnx gives model.tuned.json."""
    return Path(path).with_suffix(".tuned.json")


def conditions(path: str | os.PathLike) -> dict[str, Any]:
    """What settings are bound to: the file and the machine."""
    machine = fingerprint()
    return {
        "file": sha256(path),
        "cpu": machine["cpu"],
        "usable_cores": machine["usable_cores"],
        "gpus": machine["gpus"],
        "onnxruntime": ort.__version__,
        OPENVINO_PLUGIN: machine.get(OPENVINO_PLUGIN),
    }


def write_settings(
    settings: Settings,
    path: str | os.PathLike,
    out: str | os.PathLike,
    measured: dict[str, Any],
    force: bool = False,
) -> None:
    """Writes the settings for the file at `path`, and what was measured, to `out`."""
    record = {
        "settings": asdict(settings),
        "conditions": conditions(path),
        "measured": measured,
    }
    with write_beside(out, force) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def read_settings(source: str | os.PathLike, path: str | os.PathLike) -> Settings:
    """The settings at `source`, for the file at `path`.

    Raises:
        InputError: no such file, not what `write_settings` writes, or made for
            another file, machine or onnxruntime.
    """
    source = Path(source)
    try:
        if not source.is_file():  # of a pipe or a device one might read for ever
            raise ValueError("there is no such file")
        if (size := source.stat().st_size) > MAX_SETTINGS_BYTES:
            raise ValueError(f"{size} bytes, {MAX_SETTINGS_BYTES} are read")
        record = json.loads(source.read_text(encoding="utf-8"))
        settings = Settings.from_json(record["settings"])
        bound = dict(record["conditions"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{source} cannot be read as settings: {error}.") from error
    for name, here in conditions(path).items():
        if bound.get(name) != here:
            raise InputError(
                f"{source} was made for {name} {bound.get(name)}; here it is {here}."
            )
    return settings


def sorted_options(
    options: Mapping[str, str] | None, providers: Iterable[str]
) -> dict[str, dict[str, str]]:
    """The options of each of the providers, "cpu" being the session's own.

    Raises:
        InputError: an option that none of them has, or that is no short text.
    """
    owners = {
        name: owner for owner in {*providers, "cpu"} for name in KNOWN.get(owner, ())
    }
    by_owner = {owner: {} for owner in {*providers, "cpu"}}
    for name, value in (options or {}).items():
        if name not in owners:
            raise InputError(
                f"options: {', '.join(providers)} have no option {name!r}."
                f"{closest(name, owners)} Accepted are {', '.join(sorted(owners))}."
            )
        if not isinstance(value, str) or len(value) > MAX_OPTION_CHARS:
            shown = repr(value)[:MAX_OPTION_CHARS]
            raise InputError(
                f"options: {name}={shown}; text is accepted, as '1', of up to "
                f"{MAX_OPTION_CHARS} characters."
            )
        by_owner[owners[name]][name] = value
    return by_owner


def cuda_options(tf32: bool = False) -> dict[str, str]:
    """Options of the CUDA provider.

    Args:
        tf32: let float32 products be rounded to TF32's 10 bits of mantissa.
            onnxruntime's default is on, which breaks the parity of an export.
    """
    return {
        "use_tf32": "1" if tf32 else "0",
        # onnxruntime's default, spelled out: time cuDNN's algorithms at first use.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
    }


def tensorrt_options(
    path: Path, input_name: str, largest_input: Sequence[int], least: int = 1
) -> dict[str, str]:
    """Options of the TensorRT provider: one engine for all batches, and caches.

    Without a profile each new batch size builds an engine anew (onnxruntime#16889,
    #18272). Engines and kernel timings are kept in
    `$XDG_CACHE_HOME/keras_resnet/tensorrt` (default `~/.cache`), in a folder a file:
    onnxruntime finds engines by the graph's structure and would serve those of
    other weights (those outside the file are named in it after what they are).

    Args:
        path: of the ONNX file.
        input_name: of the model.
        largest_input: the shape that the engine is tuned for, (N, H, W, C).
        least: the smallest batch that it serves too.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = cache / "keras_resnet" / "tensorrt"
    batch, *image = largest_input
    smallest, largest = (
        f"{input_name}:{'x'.join(map(str, [n, *image]))}" for n in (least, batch)
    )
    return {
        "trt_profile_min_shapes": smallest,
        "trt_profile_opt_shapes": largest,
        "trt_profile_max_shapes": largest,
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache / sha256(path)[:16]),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }


def openvino_options(
    precision: str | None, threads: int | None, properties: dict[str, str]
) -> dict[str, str]:
    """Options of the OpenVINO provider: its properties for the processor, as JSON.

    Left to itself it computes in bfloat16 where the processor can: the precision is
    always set.

    Args:
        precision: "float32", "bfloat16" or "float16"; None for float32. Layers that
            the file has in int8 stay so.
        threads: of one request; None leaves it to OpenVINO, one a physical core.
        properties: more of OpenVINO's properties, such as NUM_STREAMS.
    """
    hints = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision or "float32"]}
    if threads:
        hints["INFERENCE_NUM_THREADS"] = str(threads)
    return {"load_config": json.dumps({"CPU": {**hints, **properties}})}
