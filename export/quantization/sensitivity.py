"""Which nodes a lower precision hurts most, by measurement; and how few to spare."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from tqdm import tqdm

from export.parity.compare import comparable
from export.quantization.running import session_of

Build = Callable[[frozenset[str]], onnx.ModelProto]


def rank(
    build: Build,
    names: Sequence[str],
    layout: str,
    batches: Sequence[np.ndarray],
    verbose: bool,
) -> list[str]:
    """The nodes, the one that adds most noise to the output first.

    Each is lowered alone, all others in float32, and the change of the first output
    is measured in mean squares; of probabilities, that of their logarithms.

    Args:
        build: from the nodes that stay in float32 to a model.
        names: of the nodes that can be lowered.
        layout: of the model's input.
        images: batches of calibration images.
        verbose: show the progress.
    """
    everything = frozenset(names)
    expected = _outputs(build(everything), layout, batches)
    noise = {}
    hidden = None if verbose else True  # None: hidden where there is no terminal
    for name in tqdm(names, "sensitivity", disable=hidden, leave=False):
        found = _outputs(build(everything - {name}), layout, batches)
        change = np.square(found - expected).mean()
        noise[name] = float(np.nan_to_num(change, nan=np.inf))
    return sorted(names, key=noise.get, reverse=True)


def fewest(
    ranked: Sequence[str], most: int, holds: Callable[[frozenset[str]], bool]
) -> frozenset[str] | None:
    """The fewest of the first nodes that are to be spared.

    Doubles their number until `holds`, then halves the last step; so `holds` is asked
    a handful of times where there are hundreds of nodes.

    Args:
        ranked: names, the worst first.
        most: that may be spared.
        holds: whether the accuracy is good enough with these in float32.

    Returns:
        The names; None where sparing `most` is not enough.
    """
    failed, count = 0, 1
    while not holds(frozenset(ranked[: min(count, most)])):
        if count >= most:
            return None
        failed, count = count, 2 * count
    good = min(count, most)
    while good - failed > 1:
        middle = (failed + good) // 2
        if holds(frozenset(ranked[:middle])):
            good = middle
        else:
            failed = middle
    return frozenset(ranked[:good])


def _outputs(proto, layout: str, batches) -> np.ndarray:
    run, found = session_of(proto, layout).outputs, []
    for images in batches:
        outputs = run(images)
        name = next(iter(outputs))
        found.append(comparable(name, outputs[name]).reshape(len(images), -1))
    return np.concatenate(found)
