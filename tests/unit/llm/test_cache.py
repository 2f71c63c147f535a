"""Answers kept between commands."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from loopai_runtime.layout import Layout
from loopai_runtime.llm import AnswerCache
from loopai_runtime.llm.cache import Kept

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "secret text"}], "sample": 0}
ANSWER = Kept("spam\n", 10, 2)


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(Layout(tmp_path))


def test_an_answer_is_kept_for_its_question_alone(cache: AnswerCache, tmp_path: Path) -> None:
    cache.put(QUESTION, ANSWER)
    assert AnswerCache(Layout(tmp_path)).get(QUESTION) == ANSWER
    assert cache.get(QUESTION | {"sample": 1}) is None
    assert cache.get(QUESTION | {"model": "n"}) is None


def test_names_tell_nothing_and_files_are_for_their_owner_alone(cache: AnswerCache, tmp_path: Path) -> None:
    cache.put(QUESTION, ANSWER)
    path = cache.path(QUESTION)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = AnswerCache(Layout(tmp_path / "elsewhere"))
    assert other.path(QUESTION).name != path.name
    assert b"secret text" not in path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"name": "another", "text": "x", "prompt_tokens": 1, "completion_tokens": 1}',
        b'{"name": "NAME", "text": 5, "prompt_tokens": 1, "completion_tokens": 1}',
        b'{"name": "NAME", "text": "x", "prompt_tokens": "1", "completion_tokens": 1}',
        b'{"name": "NAME", "text": "x"}',
    ],
)
def test_a_damaged_entry_is_none(cache: AnswerCache, content: bytes) -> None:
    cache.put(QUESTION, ANSWER)
    path = cache.path(QUESTION)
    path.write_bytes(content.replace(b"NAME", path.stem.encode()))
    assert cache.get(QUESTION) is None
    cache.put(QUESTION, ANSWER)
    assert cache.get(QUESTION) == ANSWER


def test_what_cannot_be_kept_is_no_error(cache: AnswerCache, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    cache.put(QUESTION, ANSWER)
    assert cache.get(QUESTION) is None
