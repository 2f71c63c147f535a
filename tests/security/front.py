"""The process that attacks are run from: `python -m tests.security.front control|cage [NAME...]`.

It plays the front of a deployment: its environment, memory and descriptors hold a secret, and it starts what runs
the attacks. `cage` runs each as a program behind the cage alone; `control` runs the same source in a bare process
that is started with everything an executor is spared. It prints one `Ended` as JSON for each attack.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.security.os_attacks import ATTACKS, Attack
from tests.security.os_attacks.stage import PR_SET_PTRACER, Stage

from loopai_runtime.sandbox.pool import run_program

SECRET = "STAGE_SECRET"
_SECONDS = 20.0
_BARE = """
import json, os, sys
if int(sys.argv[1]) != 3:
    os.dup2(int(sys.argv[1]), 3)
import _thread, ctypes, resource, signal, socket, struct
control = socket.socket(fileno=3)
order = json.loads(control.makefile().readline())
namespace = {"__name__": "program"}
try:
    exec(order["source"], namespace)
    answer = {"output": namespace["run"](order["given"])}
except BaseException as error:
    answer = {"type": type(error).__name__, "message": str(error)}
control.sendall(json.dumps(answer).encode() + b"\\n")
os._exit(0)
"""
_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one attack ended. `worked`: its proof is there. `stopped`: what stopped it, '' if nothing did that
    should have; `detail` says what happened in any case."""

    name: str
    worked: bool
    stopped: str
    detail: str


def caged(source: str, value: Any) -> tuple[Any, str, str]:
    """Output, stop and detail of a program behind the cage alone. Raises ConfigError where there is no cage."""
    outcome = run_program(source, value, wall="cage", timeout_ms=int(_SECONDS * 1000))
    if outcome.stopped_by == "cage":
        return None, "killed", "killed for a forbidden system call"
    if outcome.error is not None:
        return None, _refusal(outcome.error.message), f"{outcome.error.type}: {outcome.error.message}"
    return outcome.output, "", f"answered {outcome.output!r:.200}"


def bare(source: str, stage: Stage) -> tuple[Any, str, str]:
    """The same of a process with no wall around it."""
    ours, theirs = socket.socketpair()
    order = json.dumps({"source": source, "given": stage.given()}) + "\n"
    with ours:
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            command = [sys.executable, "-I", "-S", "-c", _BARE, str(theirs.fileno())]
            process = subprocess.Popen(command, close_fds=False, stderr=subprocess.DEVNULL)
        ours.settimeout(_SECONDS)
        ours.sendall(order.encode())
        said = b""
        try:
            while not said.endswith(b"\n"):
                data, descriptors, _, _ = socket.recv_fds(ours, 65536, 4)
                stage.received += descriptors
                if not data:
                    break
                said += data
        except TimeoutError:
            process.kill()
        status = process.wait()
    answer = json.loads(said or b"null")
    if answer is None:
        return None, "", f"ended with status {status}"
    if "type" in answer:
        return None, _refusal(answer["message"]), f"{answer['type']}: {answer['message']}"
    return answer["output"], "", f"answered {answer['output']!r:.200}"


def _refusal(message: str) -> str:
    found = _ERRNO.search(message)
    return f"errno {found[1]}" if found else ""


def ended(attack: Attack, mode: str, secret: str) -> Ended:
    """Set the stage, run one attack, look what has come of it."""
    with Stage(secret) as stage:
        os.set_inheritable(stage.leaked, True)
        run = bare(attack.source, stage) if mode == "control" else caged(attack.source, stage.given())
        output, stop, detail = run
        worked = attack.proof(stage, output)
    if stop.startswith("errno") and int(stop.split()[1]) not in attack.refusals:
        stop = ""  # its own mistake, not an answer of a wall
    if not stop and output is None and attack.may_find_nothing and detail.startswith("answered"):
        stop = "found nothing"
    return Ended(attack.name, worked, stop, detail)


def main(mode: str, *names: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(-1), 0, 0, 0)
    secret = os.environ[SECRET]
    for name in names or ATTACKS:
        print(json.dumps(dataclasses.asdict(ended(ATTACKS[name], mode, secret))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
