"""Options of sessions and providers: our own settings, and those a user may add.

The names follow onnxruntime's documentation (onnxruntime.ai/docs/execution-providers)
and the strings inside onnxruntime-gpu 1.31 and OpenVINO 2026.4. Those of CUDA and
TensorRT were not run on a GPU.

- `prefer_nhwc` and `fuse_conv_bias` (CUDA) may make float16 files faster or slower:
  `export.tune` tries them.
- `enable_cuda_graph` (CUDA) and `trt_cuda_graph_enable` replay one recording: they
  want one shape and images that are bound, `Session.bind`.
- TensorRT takes float16 from the file; its older flags for it are not accepted here,
  since TensorRT 11 has them no more.
- NUM_STREAMS and PERFORMANCE_HINT (OpenVINO) serve several callers at a time.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from keras_resnet.common.errors import InputError, closest
from keras_resnet.common.fingerprint import sha256

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
LONGEST = 1000  # characters of a value; onnxruntime itself fails at 8192


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
    found = {owner: {} for owner in {*providers, "cpu"}}
    for name, value in (options or {}).items():
        if name not in owners:
            raise InputError(
                f"options: {', '.join(providers)} have no option {name!r}."
                f"{closest(name, owners)} Accepted are {', '.join(sorted(owners))}."
            )
        if not isinstance(value, str) or len(value) > LONGEST:
            raise InputError(
                f"options: {name}={repr(value)[:LONGEST]}; text is accepted, as '1', "
                f"of up to {LONGEST} characters."
            )
        found[owners[name]][name] = value
    return found


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
