"""What a model has to know to write a program that the sandbox lets in: the language, and the contract.

Generated from the sandbox's own lists, so that it cannot say anything else than what is enforced.
"""

from __future__ import annotations

from functools import cache

from loopai_runtime.sandbox.facades import MEMBERS
from loopai_runtime.sandbox.language import BUILTINS

_WHOLE = frozenset(["re", "json", "math", "string", "itertools", "typing", "html", "textwrap", "heapq", "bisect"])
"""Modules of which programs find about all that they look for; of others the members are listed."""
_RARE = frozenset(["binascii", "struct", "zlib", "base64", "hashlib"])

_CONTRACT = """\
# The program
Define at top level:

    def answer(input_data):
        # input_data: the parsed JSON input
        ...
        return output, confidence, reason

- `output`: exactly what the output schema asks for, for every input, however odd: never raise.
- `confidence`: a number from 0 to 1, your honest estimate that this output is right. About 0.95 where an
  unmistakable sign decides, 0.6 to 0.8 for weaker or mixed signs, below 0.35 where it is a mere guess. It is
  used: unsure answers weigh less beside other programs, or go to a person.
- `reason`: a few words naming what decided, such as "word: refund" or "no sign, default".

# The language: a small part of Python 3.9
- Modules: {whole}; of others these members only:
{parts}
- Builtins: {builtins}.
- Not available, refused before it runs: classes, `with`, `global`, decorators, `match`, async, names that start
  with two underscores (no `if __name__ == ...`), setting attributes, `str.format` (write f-strings), `type`,
  `getattr`, `hash`, `open`, `input`, `eval`, files, network, clock (no `now`, `today`), randomness.
- The usual methods of str, bytes, list, dict, set, re patterns and matches, datetime and Decimal work.
- Constants at module level (dicts, lists, sets, tuples, compiled patterns) are made read-only once loaded: build
  what changes inside functions. No `Counter`, `defaultdict` or `deque` at module level, no function made by a
  function there.
- A call must take well under 10 ms: compile patterns once, at module level; no nested repeats such as `(a+)+`.
"""


@cache
def guide() -> str:
    """The contract and the language, as prompts say them."""
    parts = [
        f"  - {module}: {', '.join(sorted(members))}"
        for module, members in sorted(MEMBERS.items())
        if module not in _WHOLE and module not in _RARE
    ]
    functions = sorted(name for name in BUILTINS if name[0].islower())
    return _CONTRACT.format(
        whole=", ".join(sorted(_WHOLE)),
        parts="\n".join(parts),
        builtins=", ".join(functions) + ", the usual exceptions",
    )
