"""The language model of the story: a server on loopback that answers as a model would that knows the shop's words.

What it writes competes with what is made without it, on mails that no prompt has shown, and is paid for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import mail

from loopai_runtime.testing import ScriptedLLM

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

MODEL = "openai/gpt-4o-mini"
"""Whose price is known, so that the script costs as much as this model would."""

WORDS = {label: f"{mail.OLD[label]} {mail.NEW[label]}".split() for label in mail.LABELS}
PROGRAM = f"""
LABEL_OF = {{word: label for label, words in {WORDS!r}.items() for word in words}}

def answer(input_data):
    for word in "".join(c if c.isalpha() else " " for c in input_data["text"]).split():
        if word in LABEL_OF:
            return LABEL_OF[word], 0.95, "word: " + word
    return "delivery", 0.3, "no sign"
"""
SIGNS = {"signs": [{"name": f"about {label}", "label": label, "words": words} for label, words in WORDS.items()]}


def _answer(asked: dict[str, Any]) -> str:
    if "What to write down" in str(asked["messages"]):  # signs for the linear model
        return json.dumps(SIGNS)
    return f"Words decide here.\n\n```python{PROGRAM}```"


def llm() -> AbstractContextManager[ScriptedLLM]:
    return ScriptedLLM(_answer)
