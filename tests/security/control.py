"""Runs snippets as plain Python, each in a process of its own: `python -I control.py`, a JSON line each way.

Orders name the source, its inputs and the limits; the answer is {"ending": ..., "output": ...}. An ending is
`answer`, `output` (too long), `memory`, `time`, `broken` (ended by more than one cause, see ENDINGS) or the name
of the exception or signal.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import sys
from pathlib import Path


def _limit(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _attempt(order: dict) -> dict:
    """Call the program as the sandbox would - a later call may be another program's - but without a wall."""
    try:
        answer = None
        programs = {}
        for source, value in order["calls"]:
            if source not in programs:
                programs[source] = {"__name__": "program"}
                exec(compile(source.encode(), "program.py", "exec", dont_inherit=True), programs[source])
            answer = programs[source]["run"](value)
        text = json.dumps(answer, ensure_ascii=False, allow_nan=False)
        too_long = len(text.encode()) > order["output"]
    except MemoryError:
        return {"ending": "memory"}
    except BaseException as error:
        return {"ending": type(error).__name__[:40], "output": f"{error} {error.args!r}"[:500]}
    return {"ending": "output"} if too_long else {"ending": "answer", "output": text}


def _child(order: dict, pipe: int) -> None:
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silence, standard)
    _limit(order["memory_mb"])
    found = json.dumps(_attempt(order)).encode()
    while found:
        found = found[os.write(pipe, found) :]


def _run(order: dict) -> dict:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _child(order, write)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    os.close(write)
    text, late = b"", False
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while True:
            if not select.select([pipe], [], [], order["timeout_s"])[0]:
                late = True
                break
            part = pipe.read(65536)
            if not part:
                break
            text += part
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if late:
        return {"ending": "time"}
    try:
        return json.loads(text)
    except ValueError:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        name = signal.Signals(number).name if number else "exit"
        return {"ending": "memory" if name == "SIGKILL" else name}


if __name__ == "__main__":
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)
