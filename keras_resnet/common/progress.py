"""Progress of long work: a bar on a terminal, and elsewhere a line now and then."""

import sys
import time
from typing import Any

from tqdm import tqdm

SECONDS = 30  # between two lines where there is no terminal
_BAR = "{l_bar}{bar}{r_bar}"  # tqdm's own


class Progress(tqdm):
    """tqdm's bar if standard error is a terminal; else its words every 30 seconds.

    Args:
        *args, **options: of tqdm; a `file` is not among them.
    """

    def __init__(self, *args: Any, **options: Any):
        self.on_terminal = sys.stderr.isatty()
        self.last_line = time.monotonic()
        if not self.on_terminal:
            options["leave"] = False  # which would end the line of a bar
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
        if self.on_terminal:
            return super().display(msg, pos)
        now = time.monotonic()
        if msg is None and now - self.last_line >= SECONDS:
            self.last_line = now
            words = (self.bar_format or _BAR).replace("{bar}", "")
            meter = {**self.format_dict, "bar_format": words, "ncols": None}
            line = self.format_meter(**meter).replace("||", "")  # the bar's two ends
            print(line, file=sys.stderr, flush=True)
        return False

    def clear(self, nolock: bool = False) -> None:
        if self.on_terminal:
            super().clear(nolock)
