"""Progress of an export: one line a step, with its seconds."""

import contextlib
import time
from collections.abc import Iterator


@contextlib.contextmanager
def step(name: str, verbose: bool = True) -> Iterator[None]:
    """Prints the step's name when it begins and its seconds when it succeeds."""
    if not verbose:
        yield
        return
    print(f"{name:<14}", end="", flush=True)
    start = time.perf_counter()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.perf_counter() - start:6.1f} s", flush=True)
