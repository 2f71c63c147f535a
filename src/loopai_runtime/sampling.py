"""Which executions are checked: every choice says with which probability it was made.

Random sampling by a keyed hash of the execution's id (Bernoulli, as in Horvitz and Thompson 1952): whoever has the
key can tell again which executions were chosen, and nobody else can tell beforehand.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

_RANGE = 1 << 64


class Choice(NamedTuple):
    """Whether an execution is checked, and the probability with which it was chosen for that."""

    sampled: bool
    pi: float


class RandomSampling:
    """Each execution with the same probability `rate`, independent of all others."""

    def __init__(self, rate: float, key: bytes) -> None:
        self.rate = rate
        self._keyed = blake2b(key=key, digest_size=8)
        self._below = round(rate * _RANGE)

    def choose(self, execution_id: str) -> Choice:
        digest = self._keyed.copy()
        digest.update(execution_id.encode())
        return Choice(int.from_bytes(digest.digest(), "big") < self._below, self.rate)
