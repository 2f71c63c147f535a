"""A question to the person at the terminal, while something is made: which of several outputs is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Question


def somebody() -> bool:
    """Whether a person can answer: stdin, stdout and stderr are terminals, and no CI says that it runs this."""
    import os
    import sys

    return not os.environ.get("CI") and all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def settle(question: Question) -> str | None:
    """A line of the person's: a key or an output; None for an empty one and at the end of the input."""
    import sys

    from loopai_runtime.cli.render import as_json, say
    from loopai_runtime.flows.settle import keys

    say("The examples leave open what is right for")
    say(f"  {as_json(question.input, indent=None)}")
    for key, answer in keys(question).items():
        say(f"  [{key}] {as_json(answer, indent=None)}")
    say("Press a key of these and Enter, or type the right output; Enter alone leaves it open: ")
    return sys.stdin.readline().strip() or None
