"""A page to read: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:1rem;overflow:auto}code{font-family:ui-monospace,monospace}"
)


def page(title: str, parts: Iterable[str]) -> str:
    """`parts` are HTML already."""
    head = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return head + "".join(parts)


def code(text: str) -> str:
    return f"<pre><code>{html.escape(text)}</code></pre>"
