"""`loopai bench` measures a server of its own, and one that is named."""

from __future__ import annotations

from pathlib import Path

from tests.integration.conftest import Loopai
from tests.integration.test_server import SPAM, add, serving

from loopai_runtime.layout import Layout

LOAD = ("--rate", 200, "--seconds", 1, "--input", '{"text": "win"}', "-o", "json")


def test_a_version_is_measured_without_touching_its_log(loopai: Loopai, tmp_path: Path) -> None:
    add(Layout(loopai.data_dir), "spam", SPAM)
    done = loopai("bench", "spam", *LOAD, "--plot")
    assert done.code == 0, done.err
    text = done.out[: done.out.index("}") + 1]
    assert '"answered": 200' in text
    assert '"failed": 0' in text
    assert "█" in done.out
    assert not Layout(loopai.data_dir).executions("spam").exists()


def test_a_server_that_runs_is_loaded(loopai: Loopai) -> None:
    add(Layout(loopai.data_dir), "spam", SPAM)
    with serving(loopai.data_dir) as server:
        done = loopai("bench", "spam", *LOAD, "--url", f"http://127.0.0.1:{server.port}")
        assert (done.code, done.json["answered"]) == (0, 200)
        assert done.json["p50_ms"] <= done.json["p99_ms"] <= done.json["max_ms"]
        assert len(server.records("spam")) == 200


def test_nobody_at_the_address_is_said(loopai: Loopai) -> None:
    add(Layout(loopai.data_dir), "spam", SPAM)
    done = loopai("bench", "spam", *LOAD, "--url", "http://127.0.0.1:1")
    assert (done.code, "nobody answers" in done.err) == (1, True)


def test_a_task_without_examples_asks_for_an_input(loopai: Loopai) -> None:
    add(Layout(loopai.data_dir), "spam", SPAM)
    done = loopai("bench", "spam")
    assert (done.code, "--input" in done.err) == (5, True)
