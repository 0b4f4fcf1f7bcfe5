"""Room for networks of a thousand layers and more. Standard library only."""

import sys

# Keras walks a functional graph by recursion, a frame a layer; ResNet-1202 has 4,210.
FRAMES = 10_000


def allow_depth() -> None:
    """Raises Python's recursion limit, where it is lower, to what deep networks need.

    It stays raised: saving, copying and exporting walk the graph again.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), FRAMES))
