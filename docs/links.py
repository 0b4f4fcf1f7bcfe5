"""Links out of docs/ lead nowhere on the site: there the path stands as text."""

import re


def on_page_markdown(markdown: str, **_) -> str:
    """MkDocs calls this for each page before it is rendered."""
    return re.sub(r"!?\[([^]]+)\]\(\.\./([^)]+)\)", r"\1 (`\2`)", markdown)
