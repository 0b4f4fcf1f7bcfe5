"""Whether the training step is compiled by XLA, and why."""

import inspect

import keras

JIT_COMPILE = {"auto": "auto", "on": True, "off": False}  # flag -> Keras's argument


def explain(asked: str, model: keras.Model) -> str:
    """One sentence on what Keras made of a choice.

    Args:
        asked: a key of JIT_COMPILE.
        model: compiled with that choice.
    """
    if asked == "off":
        return "off, as asked for"
    if model.jit_compile:
        return "on, as asked for" if asked == "on" else "on, as Keras chooses here"
    on_cpu = keras.distribution.list_devices()[0].startswith("cpu")
    if asked == "auto" and on_cpu:
        # ResNet-20 and ResNet-50 were both measured 2 to 3 times slower with it.
        return "off: it slows down a CPU"
    return f"off: {_refusal()}"


def _refusal() -> str:
    """Why Keras turned jit_compile off: see keras's `model_supports_jit`."""
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.framework.config import is_op_determinism_enabled

        if is_op_determinism_enabled():
            return "Keras turns it off where TensorFlow's op determinism is enabled"
    return "Keras does not support it for this model on this system"


def step_is_compiled(model: keras.Model, batches) -> bool | None:
    """Whether the training step that ran was compiled: looked up in its graph.

    None where this version of Keras keeps the graph elsewhere.

    Args:
        model: after `fit`.
        batches: the data set that it was fitted to; nothing is drawn from it.
    """
    if keras.backend.backend() != "tensorflow":
        return bool(model.jit_compile)
    # Keras keeps the traced function in a closure; the lookup traces nothing anew.
    variables = inspect.getclosurevars(model.train_function).nonlocals
    step = variables.get("multi_step_on_iterator")
    if step is None:
        return None
    traced = step.get_concrete_function(iter(batches))
    return any(
        "_XlaMustCompile" in operation.node_def.attr
        and operation.get_attr("_XlaMustCompile")
        for operation in traced.graph.get_operations()
    )
