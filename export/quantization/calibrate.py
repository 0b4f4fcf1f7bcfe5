"""The range of every activation, from histograms that grow as images pass.

onnxruntime's own calibrators keep all activations of all images until the end and go
through them with `numpy.histogram`; these take one pass and a fixed memory
(benchmarks/results/quantization.md).
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from export.quantization.config import QuantizationConfig
from export.quantization.images import Images
from export.quantization.measure import session_of
from keras_resnet.common.errors import InputError

BINS = 4096  # on each side of zero
# onnxruntime.quantization's default: 1 value in 100,000 may lie outside.
PERCENTILE = 99.999
THRESHOLDS = 128  # thresholds that the entropy method tries
MIN_COUNT = 1e-12  # of a count in a distribution, so that it has a logarithm


class Histogram:
    """Counts of values in bins of one width, between -limit and limit.

    When a value lies beyond, the limit doubles and pairs of bins become one: so no
    value is kept, and none is looked at twice.

    Attributes:
        low, high: the smallest and the largest value, 0 included.
    """

    def __init__(self):
        self.counts = np.zeros(2 * BINS, np.int64)
        self.limit = self.low = self.high = 0.0

    def add(self, values: np.ndarray) -> None:
        values = values.ravel()
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        peak = max(-low, high)
        if peak > 0 and self.limit == 0:  # zeros alone so far, and they stay in place
            self.limit = float(2.0 ** np.ceil(np.log2(peak)))
        while peak > self.limit:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(pairs, BINS // 2)
            self.limit *= 2
        scale = np.float32(BINS / self.limit if self.limit else 0)
        places = (values * scale + np.float32(BINS)).astype(np.int32)
        counts = np.bincount(places, minlength=2 * BINS)
        counts[2 * BINS - 1] += counts[2 * BINS :].sum()  # values that are the limit
        self.counts += counts[: 2 * BINS]

    def minmax(self) -> tuple[float, float]:
        return self.low, self.high

    def percentile(self) -> tuple[float, float]:
        """Cuts as many values at either end."""
        below = np.cumsum(self.counts)
        outside = (100 - PERCENTILE) / 200 * below[-1]
        first = np.searchsorted(below, outside, side="right")
        last = np.searchsorted(below, below[-1] - outside)
        width = self.limit / BINS
        low, high = (first - BINS) * width, (last + 1 - BINS) * width
        return max(min(low, 0), self.low), min(max(high, 0), self.high)

    def entropy(self) -> tuple[float, float]:
        """The threshold that changes the distribution of sizes least.

        Migacz 2017, "8-bit inference with TensorRT" (GTC): of the distributions that
        are clipped at a threshold, the one nearest, in Kullback-Leibler divergence, to
        itself in as many steps as the integers have.
        """
        counts = self.counts[BINS:] + self.counts[BINS - 1 :: -1]
        # Zeros, of a ReLU, are exact at any scale (as in pytorch-quantization).
        counts[0] = counts[1]
        levels = 256 if self.low == 0 else 128
        used = np.flatnonzero(counts)
        last = max(int(used[-1]) + 1 if len(used) else 1, levels)
        stops = np.unique(np.linspace(levels, last, THRESHOLDS).astype(int))
        best = min(stops, key=lambda stop: _divergence(counts, stop, levels))
        threshold = best * self.limit / BINS
        return max(-threshold, self.low), min(threshold, self.high)


def _divergence(counts: np.ndarray, stop: int, levels: int) -> float:
    """From `counts` clipped at `stop` to the same in `levels` steps."""
    clipped = counts[:stop].astype(float)
    steps = np.arange(levels) * stop // levels
    filled = clipped > 0
    share = np.add.reduceat(clipped, steps) / np.maximum(
        np.add.reduceat(filled.astype(int), steps), 1
    )
    stepped = np.repeat(share, np.diff(np.append(steps, stop))) * filled
    clipped[-1] += counts[stop:].sum()
    if not clipped.sum():
        return 0.0
    p, q = (
        np.maximum(counts / max(counts.sum(), MIN_COUNT), MIN_COUNT)
        for counts in (clipped, stepped)
    )
    return float((p * np.log(p / q)).sum())


def calibrate(
    model: ir.Model,
    config: QuantizationConfig,
    tensors: Sequence[str],
    images: Images,
    verbose: bool = False,
) -> dict[str, tuple[float, float]]:
    """(lowest, highest) of each named tensor, 0 included, over all the images.

    Of the input it is just that, whatever the method: images have no outliers.

    Args:
        model: in float32; it stays as it is.
        config: for the layout of the input and the method.
        tensors: names of float32 tensors, the input among them or not.
        images: calibration images.
        verbose: show the progress.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    watched = model.clone()
    (images_input,) = watched.graph.inputs
    wanted = set(tensors) - {value.name for value in watched.graph.outputs}
    for node in watched.graph:
        for value in node.outputs:
            if value.name in wanted:
                value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), None
                watched.graph.outputs.append(value)
    session = session_of(watched, config.layout)
    histograms = {name: Histogram() for name in tensors}
    for batch, _ in images.watched("calibrating", verbose):
        values = session.outputs(batch) | {images_input.name: batch}
        for name, histogram in histograms.items():
            if not np.isfinite(values[name]).all():
                raise InputError(
                    f"calibration: tensor {name!r} is NaN or infinite on these "
                    "images; no range can be taken."
                )
            histogram.add(values[name])
    return {
        name: histogram.minmax()
        if name == images_input.name
        else getattr(histogram, config.calibration_method)()
        for name, histogram in histograms.items()
    }
