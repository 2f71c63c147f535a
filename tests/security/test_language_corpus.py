"""The language half of the escape corpus: every snippet against the walls, and against no wall at all.

A snippet counts only if its control succeeds, that is, if plain Python lets it out. Behind the walls it may be
refused, fail or answer something harmless; it must not come back with its proof, nor outstay its limits.

The corpus was written without knowledge of the policy, and the policy without knowledge of the corpus. Two thirds of
it - a hash of the name decides which - are held out: they were not used while writing the policy and are not to be
looked at while working on it. Snippets marked `found` came later: they are holes that reading the policy brought to
light, were closed because of them, and count as seen.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.security.corpus import CORPUS
from tests.security.harness import PING, SPENT, Canary, Plain, attempt, faults
from tests.security.snippets import Snippet

from loopai_runtime.sandbox.pool import SyncPool
from loopai_runtime.sandbox.records import Program, Wall

if TYPE_CHECKING:
    from collections.abc import Iterator

# Behind the cage alone a program may walk the language as it likes, so only snippets that go for the host count.
WALLS = [
    pytest.param("policy"),
    pytest.param("cage", marks=pytest.mark.slow),
    pytest.param("full", marks=pytest.mark.slow),
]

CASES = [
    pytest.param(snippet, id=f"{'unseen' if snippet.held_out else 'seen'}-{snippet.name}") for snippet in CORPUS
]


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    return Canary(tmp_path_factory.mktemp("host") / "canary.txt")


@pytest.fixture(scope="module")
def plain() -> Iterator[Plain]:
    with Plain() as runner:
        yield runner


@pytest.fixture(scope="module", params=WALLS)
def wall(request: pytest.FixtureRequest) -> Wall:
    return request.param


@pytest.fixture(scope="module")
def pool(wall: Wall) -> Iterator[SyncPool]:
    with SyncPool(workers=1, wall=wall) as pool:
        pool.load(Program("ping", PING, 10_000))
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("snippet", CASES)
def test_control_succeeds_without_a_wall(snippet: Snippet, plain: Plain, canary: Canary) -> None:
    found = plain.run(snippet, canary)
    written = canary.changed()
    if snippet.bomb == "broken":
        assert found["ending"] != "answer"
    elif snippet.bomb in SPENT:
        assert found["ending"] in SPENT, found
    elif snippet.bomb is not None:
        assert found["ending"] == snippet.bomb, found
    else:
        sources = snippet.source + str(snippet.input)
        assert canary.proof(snippet) not in sources, "the proof is no proof"
        assert written or (found["ending"] == "answer" and canary.proof(snippet) in found["output"]), found


@pytest.mark.parametrize("snippet", CASES)
def test_walls_hold(snippet: Snippet, wall: Wall, pool: SyncPool, canary: Canary) -> None:
    if wall == "cage" and not snippet.host:
        pytest.skip("the cage does not guard the language")
    found = attempt(pool, snippet, canary)
    assert faults(snippet, found, canary, pool) == []


def test_corpus_is_broad_and_its_names_are_unique() -> None:
    families = Counter(snippet.family for snippet in CORPUS)
    assert len(families) >= 26
    assert min(families.values()) >= 9, families
    assert len({snippet.name for snippet in CORPUS}) == len(CORPUS)
    held_out = sum(snippet.held_out for snippet in CORPUS)
    assert 0.6 < held_out / len(CORPUS) < 0.73
