"""Building ResNet-152: this package beside keras.applications, interleaved.

    python benchmarks/build_time.py

One and a half minutes on 2 cores. Both draw random weights. Each build starts with
`keras.backend.clear_session` and a garbage collection, outside the timing, so that
none pays for another's rubbish.
"""

from dataclasses import dataclass
from pathlib import Path

from keras_resnet.common.command import parse, run


@dataclass(frozen=True)
class Flags:
    """Times building ResNet-152 against keras.applications' ResNet152."""

    repetitions: int = 12
    """Builds of each, in rounds of 3."""
    out: Path = Path("benchmarks/results/build_time")
    """Path without suffix of the results."""
    force: bool = False
    """Replace existing results."""


def main() -> None:
    flags = parse(Flags)
    from export.benchmark.results import refuse_results, write_results

    refuse_results(flags.out, flags.force)
    import gc
    from functools import partial

    import keras

    import keras_resnet
    from export.benchmark.measure import Candidate, measure
    from export.benchmark.tables import table
    from keras_resnet.common.fingerprint import fingerprint

    def clean():
        keras.backend.clear_session()
        gc.collect()

    machine = fingerprint()
    builders = {
        "keras_resnet.ResNet152": keras_resnet.ResNet152,
        "keras.applications.ResNet152": keras.applications.ResNet152,
    }
    rows = measure(
        [
            Candidate({"build": name}, None, partial(builder, weights=None), clean)
            for name, builder in builders.items()
        ],
        warmup_seconds=0,
        warmup_repetitions=1,
        min_seconds=1,
        min_repetitions=flags.repetitions,
    )
    print(table(rows))
    ours, theirs = (row["p50_ms"] for row in rows)
    print(f"median of ours over theirs: {ours / theirs:.3f}")
    write_results(rows, flags.out, machine, flags.force)


if __name__ == "__main__":
    run(main)
