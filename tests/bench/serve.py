"""The server beside what its users would pick instead: `python -m tests.bench.serve`.

Saturation by wrk: bare uvicorn answering a constant (U), this server with sandbox and log, and, serving the same
classifier, FastAPI with a scikit-learn pipeline, MLflow's model server and BentoML (from the environment whose Python
PEERS names). Latency by an open-loop generator, compiled from the shared tools, with counting from the scheduled time.
LOOPAI_SOAK scales the lengths. Needs wrk and cc. `python -m tests.bench.serve NAME …` runs some of the parts alone:
saturation, logging, overload, slow, typical, memory, models.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import nursery, shared_data
from tests.bars import SOAK
from tests.integration.test_server import artifact, serving

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.flows.bench import run_load
from loopai_runtime.flows.measure import percentile
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus
from loopai_runtime.synthesis.strategy import Calibration, Problem
from loopai_runtime.synthesis.synthesize import strategies

nursery.alone = True
SECONDS = max(2, round(60 * SOAK))
PAIRS = 5
CONNECTIONS = 128
FEW = 32  # for models: more than wait 30 ms for an executor are refused, and refusals are not what is measured
RULE = (
    "WORDS = {'win': 2, 'prize': 2, 'free': 1, 'urgent': 1, 'claim': 1, 'meeting': -2, 'lunch': -2}\n\n\n"
    "def score(x):\n    total = 0\n    for word in x['text'].lower().split():\n        total += WORDS.get(word, 0)\n"
    "    return ('spam' if total > 1 else 'ham'), min(1.0, 0.5 + abs(total - 1.5) / 8)\n\n\n"
    "def run(x):\n    return score(x)[0]\n"
)
SHORT = {"text": "WIN a prize now, reply YES to claim"}
ECHO = """
import uvicorn
BODY = b'{"output":"spam","latency_ms":0.26,"execution_id":"285498c0-88f6-4c96-8031-66438d85456a","task_id":"t"}'
HEAD = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEAD})
    await send({"type": "http.response.body", "body": BODY})
uvicorn.run(app, port=PORT, http="httptools", loop="uvloop", ws="none", lifespan="off", access_log=False,
            log_level="error", server_header=False, date_header=False)
"""
TRAIN = """
import json, pickle, sys
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
rows = [json.loads(line) for line in open(sys.argv[1], newline="\\n")]
model = make_pipeline(make_union(TfidfVectorizer(ngram_range=(1, 2)),
    TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))), LinearSVC())
model.fit([row["input"]["text"] for row in rows], [row["output"] for row in rows])
pickle.dump(model, open("model.pkl", "wb"))
"""
FASTAPI = """
import pickle, uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
model = pickle.load(open("model.pkl", "rb"))
class Mail(BaseModel):
    text: str
class Body(BaseModel):
    input: Mail
app = FastAPI()
@app.post("/predict")
def predict(body: Body):
    return {"output": str(model.predict([body.input.text])[0])}
uvicorn.run(app, port=PORT, access_log=False, log_level="error")
"""
MLFLOW = """
import mlflow, pickle, subprocess, sys
model = pickle.load(open("model.pkl", "rb"))
class Texts(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [str(label) for label in model.predict(list(model_input["text"]))]
mlflow.pyfunc.save_model("mlmodel", python_model=Texts())
raise SystemExit(subprocess.call([sys.executable, "-m", "mlflow", "models", "serve", "-m", "mlmodel", "-p", "PORT",
    "--env-manager", "local"]))
"""
BENTO = """
import pickle, bentoml
@bentoml.service(workers=1)
class Spam:
    def __init__(self):
        self.model = pickle.load(open("model.pkl", "rb"))
    @bentoml.api
    def predict(self, text: str) -> str:
        return str(self.model.predict([text])[0])
"""


def wrk(port: int, path: str, body: Any, seconds: float, connections: int = CONNECTIONS) -> float:
    """Answers of status 200 a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        quoted = json.dumps(json.dumps(body))
        script.write(f'wrk.method="POST"\nwrk.body={quoted}\nwrk.headers["content-type"]="application/json"\n')
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", "-s", script.name]
        said = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True
        ).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    total = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    return rate * (1 - int(bad[1]) / total) if bad else rate


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def peer(command: list[str], folder: Path, port: int, path: str, body: Any) -> Iterator[bool]:
    """A server of somebody else; False if it does not answer within two minutes."""
    with (folder / "log").open("wb") as log:
        path_of_it = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow calls uvicorn by name
        environment = os.environ | {"PATH": path_of_it}
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=environment
        )
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
                    if connection.getresponse().status == 200:
                        yield True
                        return
                time.sleep(0.2)
            yield False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _end_left(folder)


def _end_left(folder: Path) -> None:
    """Workers that a server put into sessions of their own: they still work in its folder."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "cwd").readlink() == folder.resolve():
                os.kill(int(place.name), signal.SIGKILL)


@contextlib.contextmanager
def echo(folder: Path) -> Iterator[int]:
    port = free_port()
    with peer([sys.executable, "-c", ECHO.replace("PORT", str(port))], folder, port, "/", {}) as up:
        assert up
        yield port


def store(layout: Layout, task_id: str, code: str) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    with layout.lock(task_id, 5):
        made = artifact(task_id, input_schema=schema, output_schema={"enum": ["spam", "ham"]}, timeout_ms=1000)
        kept = ArtifactStore(layout)
        kept.activate(task_id, kept.add(made, code, VersionStatus.VALIDATED).version)


def linear() -> str:
    rows = shared_data.rows("sms_spam", "train")
    inputs, outputs = [row["input"] for row in rows], [row["output"] for row in rows]
    problem = Problem("sms", {}, {}, inputs, outputs, range(len(rows)))
    strategy = next(s for s in strategies() if "linear" in s.names)
    fitted = strategy.fit(problem, range(len(rows)), 0)[list(strategy.names).index("linear")]
    return fitted.emit(problem, Calibration(1.0, 0.0, 0.0))


def mail() -> dict[str, str]:
    texts = [row["input"]["text"] for row in shared_data.rows("sms_spam", "test")]
    return {"text": " ".join(texts[:30])[:1000]}


def plain_seconds(code: str, value: Any) -> float:
    namespace: dict[str, Any] = {}
    exec(compile(code, "program.py", "exec"), namespace)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        for _ in range(20):
            namespace["score"](value)
        times.append((time.perf_counter() - started) / 20)
    return statistics.median(times)


def say(text: str) -> None:
    print(text, flush=True)


def open_loop(
    folder: Path, port: int, body: Any, rate: float, seconds: float, connections: int = 64, hang: Any = None
) -> str:
    source = shared_data.ROOT.parent / "tools" / "openload.c"
    program, sent = folder / "openload", folder / "body.json"
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", program, source, "-lm"], check=True, capture_output=True)
    sent.write_text(json.dumps(body))
    command = [program, str(port), str(rate), str(seconds), str(connections), sent]
    if hang is not None:
        (folder / "hang.json").write_text(json.dumps(hang))
        command += [folder / "hang.json", "2000"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.strip()


def resident_mb(pid: int) -> float:
    """Of a process and its descendants, proportionally shared pages."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) if line.startswith("Pss:") else 0
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    return total / 1024


def saturation(folder: Path) -> None:
    """The short rule program against the bare echo, alternating; then a steady open loop, hangs mixed in."""
    layout = Layout(folder / "rule")
    store(layout, "spam", RULE)
    pairs = []
    body = {"input": SHORT}
    with echo(folder) as bare, serving(layout.root) as server:
        wrk(server.port, "/v1/execute/spam", body, 1)
        for _ in range(PAIRS):
            ours = wrk(server.port, "/v1/execute/spam", body, SECONDS / 6)
            pairs.append((ours, wrk(bare, "/", body, SECONDS / 6)))
        ratio = statistics.median(a / b for a, b in pairs)
        ours, upper = (statistics.median(column) for column in zip(*pairs, strict=True))
        say(f"short rules: {ours:,.0f}/s, U {upper:,.0f}/s, ratio {ratio:.3f} (median of {PAIRS} pairs)")
        rate = min(10_000, round(0.85 * 0.40 * upper))
        say(f"open loop {rate:,}/s, {SECONDS} s: {open_loop(folder, server.port, body, rate, SECONDS)}")
    hanging = Layout(folder / "hanging")
    store(hanging, "spam", RULE.replace("    total = 0\n", "    total = 0\n    while x['text'] == 'hang': pass\n"))
    with serving(hanging.root) as server:
        half = rate / 2
        said = open_loop(folder, server.port, body, half, SECONDS, hang={"input": {"text": "hang"}})
        say(f"open loop {half:,.0f}/s with a request that hangs every 2 s: {said}")


def logging(folder: Path) -> None:
    """The same server with and without its execution log, alternating."""
    off = (
        "from loopai_runtime.datasets.live_log import LiveLog\n"
        "LiveLog.append = lambda self, task, day, line, kept: self._loop.call_soon(kept, None)"
    )
    body = {"input": SHORT}
    layouts = Layout(folder / "logged"), Layout(folder / "unlogged")
    for layout in layouts:
        store(layout, "spam", RULE)
    with serving(layouts[0].root) as logged, serving(layouts[1].root, before=off) as unlogged:
        ratios = []
        for _ in range(PAIRS):
            on, without = (
                wrk(server.port, "/v1/execute/spam", body, SECONDS / 6) for server in (logged, unlogged)
            )
            ratios.append(on / without)
    say(f"logging on against off: {statistics.median(ratios):.3f} (median of {PAIRS} pairs)")


def overload(folder: Path) -> None:
    """Three times what it can do: what is accepted stays quick, what is not is told at once."""
    layout = Layout(folder / "over")
    slow = RULE.replace("    total = 0\n", "    total = 0\n    for _ in range(100_000): pass\n")
    store(layout, "spam", slow)
    body = {"input": SHORT}
    with serving(layout.root) as server:
        capacity = wrk(server.port, "/v1/execute/spam", body, SECONDS / 6, connections=32)
        load = run_load(
            "127.0.0.1", server.port, "spam", [SHORT], rate=3 * capacity, seconds=SECONDS / 3, connections=512
        )
    for code in sorted(set(load.statuses)):
        took = [ms for ms, status in zip(load.latencies_ms, load.statuses, strict=True) if status == code]
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        say(f"overload, 3 x {capacity:,.0f}/s: {code}: {len(took):,}, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def slow_clients(folder: Path) -> None:
    """2,000 connections that are idle or drip, beside good traffic."""
    layout = Layout(folder / "slow")
    store(layout, "spam", RULE)
    body = {"input": SHORT}
    with serving(layout.root) as server:
        alone = open_loop(folder, server.port, body, 2000, SECONDS / 6)
        sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2000)]
        for sock in sockets[::2]:
            sock.sendall(b"POST /execute HTTP/1.1\r\nX-Drip: ")
        stop = threading.Event()

        def drip() -> None:
            while not stop.is_set():
                for at, sock in enumerate(sockets[::2]):
                    with contextlib.suppress(OSError):
                        sock.send(b"x")
                    if at % 20 == 0:
                        stop.wait(0.01)

        dripping = threading.Thread(target=drip)
        dripping.start()
        time.sleep(1)  # what 2,000 new connections cost at once is another matter
        beside = open_loop(folder, server.port, body, 2000, SECONDS / 6)
        stop.set()
        dripping.join()
        for sock in sockets:
            sock.close()
    say(f"2,000/s alone: {alone}\n2,000/s beside 2,000 slow clients: {beside}")


def memory(folder: Path) -> None:
    """Resident memory of server and executors over ten million requests (times LOOPAI_SOAK)."""
    layout = Layout(folder / "memory")
    store(layout, "spam", RULE)
    body = {"input": SHORT}
    wanted, done, seen = round(10_000_000 * SOAK), 0, []
    with serving(layout.root) as server:
        done += round(wrk(server.port, "/v1/execute/spam", body, 10) * 10)
        while done < wanted:
            seen.append(resident_mb(server.process.pid))
            done += round(wrk(server.port, "/v1/execute/spam", body, 20) * 20)
            for path in layout.executions("spam").iterdir():
                path.unlink()  # a day's log would be gigabytes
        seen.append(resident_mb(server.process.pid))
    say(f"memory after {done:,} requests: {seen[0]:.1f} MB at first, {seen[-1]:.1f} at last, most {max(seen):.1f}")


def models(folder: Path) -> None:
    """A linear model on 1000-character mails, and the peers on the same task and input."""
    code, value = linear(), mail()
    layout = Layout(folder / "linear")
    store(layout, "spam", code)
    body = {"input": value}
    cost = plain_seconds(code, value)
    with echo(folder) as bare, serving(layout.root) as server:
        wrk(server.port, "/v1/execute/spam", body, 1)
        rows = []
        for _ in range(PAIRS):
            ours = wrk(server.port, "/v1/execute/spam", body, SECONDS / 6, FEW)
            upper = wrk(bare, "/", body, SECONDS / 6, FEW)
            rows.append((ours, ours / (2 / (cost + 1 / upper))))
        ours, share = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"linear, 1000 characters: {ours:,.0f}/s, c {cost * 1e6:.0f} µs, share of 2/(c+1/U) {share:.3f}",
            flush=True,
        )
        print(f"open loop at 70 %: {open_loop(folder, server.port, body, 0.7 * ours, SECONDS)}", flush=True)
        short = wrk(server.port, "/v1/execute/spam", {"input": SHORT}, SECONDS / 6, FEW)
    peers(folder, value, ours, short)


def peers(folder: Path, value: Any, ours: float, short: float) -> None:
    python = os.environ.get("PEERS")
    if not python:
        print("PEERS names no Python: the peers were not run")
        return
    train = shared_data.ROOT / "sms_spam" / "train.jsonl"
    subprocess.run([python, "-c", TRAIN, str(train)], cwd=folder, check=True)
    (folder / "service.py").write_text(BENTO)
    port = free_port()
    bento = [python, "-m", "bentoml", "serve", "service:Spam", "-p", str(port)]
    columns = {"dataframe_split": {"columns": ["text"], "data": [[value["text"]]]}}
    tiny = {"dataframe_split": {"columns": ["text"], "data": [[SHORT["text"]]]}}
    print("| server | 1000 characters /s | ours | short /s | ours |\n|---|---|---|---|---|")
    for name, command, path, long_body, short_body in (
        ("FastAPI + scikit-learn", [python, "-c", FASTAPI.replace("PORT", str(port))], "/predict",
         {"input": value}, {"input": SHORT}),
        ("MLflow", [python, "-c", MLFLOW.replace("PORT", str(port))], "/invocations", columns, tiny),
        ("BentoML", bento, "/predict", value, SHORT),
    ):  # fmt: skip
        with peer(command, folder, port, path, long_body) as up:
            if not up:
                print(f"| {name} | did not start | | | |", flush=True)
                continue
            long_rate, short_rate = (wrk(port, path, body, SECONDS / 6, FEW) for body in (long_body, short_body))
        print(
            f"| {name} | {long_rate:,.0f} | {ours / long_rate:.1f}x | {short_rate:,.0f} | {short / short_rate:.1f}x |",
            flush=True,
        )


def typical(folder: Path) -> None:
    """20 tasks, 100 requests a second, one core."""
    layout = Layout(folder / "many")
    code = linear()
    for n in range(20):
        store(layout, f"task-{n}", code)
    os.sched_setaffinity(0, {0})
    try:
        with serving(layout.root, "--task-id", "task-0") as server:
            said = open_loop(folder, server.port, {"input": SHORT}, 100, SECONDS, 8)
            print(f"one task of 20, 100/s, one core: {said}")
        with serving(layout.root) as server:
            body = {"input": SHORT, "task_id": "task-7"}
            said = open_loop(folder, server.port, body, 100, SECONDS, 8)
            print(f"20 tasks, 100/s, one core: {said}; {resident_mb(server.process.pid):.0f} MB", flush=True)
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


PARTS = {
    "saturation": saturation,
    "logging": logging,
    "overload": overload,
    "slow": slow_clients,
    "typical": typical,
    "models": models,
    "memory": memory,
}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    for part in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as place:
            PARTS[part](Path(place))
