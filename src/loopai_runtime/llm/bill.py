"""What a call can cost at most, and what is charged for it when its server says how much it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl

if TYPE_CHECKING:
    from loopai_runtime.llm.endpoint import Prices
    from loopai_runtime.llm.provider import Answer

Messages = Sequence[Mapping[str, Any]]

# Beyond the bytes of the texts: roles and separators of each message, and of the template around all of them.
PER_MESSAGE, PER_PROMPT, PER_SCHEMA = 16, 64, 128
# A token holds no more bytes than this on average, in whatever script or code.
LONGEST_TOKEN = 16
# A report of more than this many times what was set aside is not a bill but nonsense.
NONSENSE = 10


def most_tokens(messages: Messages, schema: Mapping[str, Any] | None = None) -> int:
    """An upper bound on a prompt's tokens: no tokenizer makes more tokens than bytes."""
    bound = _bytes(messages) + PER_MESSAGE * len(messages) + PER_PROMPT
    return bound + (len(jsonl.compact(schema)) + PER_SCHEMA if schema else 0)


def _bytes(messages: Messages) -> int:
    return sum(len(str(message.get("content", "")).encode("utf-8", "replace")) for message in messages)


class Charge(NamedTuple):
    """`excess`, where it is not empty, says why this server's reports are not to be relied on."""

    usd: float
    prompt_tokens: int
    completion_tokens: int
    excess: str = ""


def charge(answer: Answer, messages: Messages, prices: Prices, max_tokens: int, most: float) -> Charge:
    """What to charge for an answer: what is reported, as far as that can be.

    Nothing reported: everything that was set aside, `most`. Fewer tokens than the texts can have: as many as
    they have at least. More than was set aside, which cannot be as a prompt has no more tokens than bytes: the
    larger of both, unless it is nonsense, and a word about it.
    """
    if answer.prompt_tokens is None or answer.completion_tokens is None:
        return Charge(most, answer.prompt_tokens or 0, answer.completion_tokens or 0)
    told = max(answer.prompt_tokens, _bytes(messages) // LONGEST_TOKEN)
    wrote = max(answer.completion_tokens, len(answer.text.encode("utf-8", "replace")) // LONGEST_TOKEN)
    usd = prices.usd(told, wrote)
    if usd <= most and told <= NONSENSE * most_tokens(messages) and wrote <= NONSENSE * max_tokens:
        return Charge(usd, told, wrote)
    said = f"reports {told:.4g} + {wrote:.4g} tokens, more than a call can have taken that allowed {max_tokens}"
    if usd <= NONSENSE * most:
        return Charge(max(usd, most), told, wrote, said)
    return Charge(most, 0, 0, said)
