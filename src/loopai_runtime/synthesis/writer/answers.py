"""A model's answer as a program's text: code stands between prose, in one block or several, or alone."""

from __future__ import annotations

import re

MAX_SOURCE = 512 * 1024
"""Characters of a program beyond which it is no small program."""
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_ENTRY = re.compile(r"^def (?:answer|score|run)\(", re.MULTILINE)
_CODE = re.compile(r"^(?:import |from \w+ import |def |[A-Z][A-Z_0-9]* *=|\"\"\"|#)", re.MULTILINE)


def program_in(text: str) -> str | None:
    """The program in a model's answer, or None.

    Of several blocks the last that defines an answer counts, as corrections come after what they correct; where
    none does, blocks that do so together are one program.
    """
    text = _THOUGHT.sub("", text).replace("\r\n", "\n")
    fences = [match for match in _FENCE.finditer(text) if match[2].lower() in ("", "python", "py", "python3")]
    blocks = [_dedented(match[3]) for match in fences]
    whole = [block for block in blocks if _ENTRY.search(block)]
    if whole:
        code = whole[-1] if _alone(whole[-1], blocks) else "\n\n".join(blocks)
    elif not blocks and _ENTRY.search(text):
        start = _CODE.search(text)
        code = text[start.start() if start else 0 :]
    else:
        return None
    return code if len(code) <= MAX_SOURCE else None


def _alone(block: str, blocks: list[str]) -> bool:
    """Whether a block stands by itself: no other block defines names that it uses without defining them."""
    for other in blocks:
        if other is block or _ENTRY.search(other):
            continue
        for name in re.findall(r"^(?:def (\w+)|([A-Za-z_]\w*) *=)", other, re.MULTILINE):
            own = name[0] or name[1]
            if re.search(rf"\b{own}\b", block) and not re.search(rf"^(?:def )?{own}\b", block, re.MULTILINE):
                return False
    return True


def _dedented(code: str) -> str:
    """A block that stands indented, as within a list, without its indentation."""
    lines = [line for line in code.split("\n") if line.strip()]
    margin = min((len(line) - len(line.lstrip(" ")) for line in lines), default=0)
    return "\n".join(line[margin:] for line in code.split("\n")) if margin else code
