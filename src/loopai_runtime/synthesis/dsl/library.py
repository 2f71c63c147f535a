"""Helpers that emitted programs may call. Only those that a program needs are written into it, as they stand here."""

from __future__ import annotations

import re


def nth_match(pattern, text, at):  # type: ignore[no-untyped-def]
    """The match number `at` of a pattern in a text; -1 is the last one."""
    return list(re.finditer(pattern, text))[at]
