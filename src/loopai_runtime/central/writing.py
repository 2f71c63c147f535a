"""One program of the platform's: what a process is given to write it from, and the process.

The specification is a tenant's, so nothing that it names is read, asked or run: examples are those that were
uploaded, and a model is asked only where the platform's operator names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.files import make_dir, write_file
from loopai_runtime.synthesis import specfile

if TYPE_CHECKING:
    from loopai_runtime.central.platform import Platform
    from loopai_runtime.config.sections import Llm

_LONGEST_S = 900.0
_BUDGET_S = 600  # for writing and judging candidates, so that there is time to store what came of it
_MISSED = 3  # the exit code of a program that misses its targets: a draft
_KEPT_OUTPUT = 64 * 1024
_EXAMPLES, _ROW = "examples.jsonl", {"input", "output"}
_ELSEWHERE = ("examples_from", "unlabelled_from")
_OPERATORS = ("model", "api_base", "prices", "send")
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


def sound(
    spec: dict[str, Any], task_id: str, examples: list[dict[str, Any]], own_model: Llm
) -> tuple[bytes, bytes]:
    """The specification as it is generated from, and the file of its examples. Raises InputError, SpecError."""
    if not spec:
        raise InputError(
            f"{task_id} has no specification", hint=f"PUT /api/v1/tasks/{task_id} with a spec, then ask again"
        )
    if spec.get("name", task_id) != task_id:
        raise InputError(f"the specification is that of {str(spec['name'])[:80]!r}", path="$.spec.name")
    for name in _ELSEWHERE:
        if spec.get(name):
            raise InputError(
                "no files are read on the platform", path=f"$.spec.{name}", hint="upload them as `examples`"
            )
    options = spec.get("generate") or {}
    if isinstance(options, dict) and (options.get("model") or options.get("strategy") == "llm"):
        raise InputError(
            "a specification names no model on the platform",
            path="$.spec.generate",
            hint="loopai generate, then loopai push; or llm.model, which is its operator's",
        )
    own = spec.get("examples") or []
    if not isinstance(own, list) or any(not isinstance(row, dict) or set(row) != _ROW for row in own):
        raise InputError("examples are a list of objects with input and output", path="$.spec.examples")
    kept = {name: value for name, value in spec.items() if name not in ("oracle", "examples", *_ELSEWHERE)}
    if isinstance(options, dict):
        # Where a model is, and what it may see, is the operator's to say: it is asked with the operator's key.
        chosen = {name: value for name, value in options.items() if name not in _OPERATORS}
        kept["generate"] = chosen | {"model": own_model.model, "api_base": own_model.api_base}
    text = jsonl.encode(kept | {"name": task_id, "examples_from": [{"file": _EXAMPLES}]})
    specfile.parse(text.decode(), "spec", Path("/"))
    return text, b"".join(jsonl.encode(row) + b"\n" for row in (*own, *examples))


async def write(platform: Platform, work: Path, spec: bytes, examples: bytes) -> None:
    """Run `loopai generate` over `work`. Raises InputError with what it says, where nothing came of it."""
    make_dir(work)
    write_file(work / "spec.yaml", spec)
    write_file(work / _EXAMPLES, examples)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "loopai_runtime", "generate", str(work / "spec.yaml")),
        *("--data-dir", str(work / "data"), "--output", "json", "--budget", f"{_BUDGET_S}s"),
        cwd=work,
        env=_environment(platform, work),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            said = await _last_of(process)
            code = await process.wait()
    except TimeoutError:
        raise InputError(f"no program was written within {_LONGEST_S / 60:g} minutes") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # the whole of it, sandboxes too
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code not in (0, _MISSED):
        said = said.replace(f"{work}/", "")
        lines = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
        raise InputError("; ".join(lines)[:1000] or "no program was written")


def _environment(platform: Platform, work: Path) -> dict[str, str]:
    """Of the process: no setting and no secret of the platform but what a model needs, where one is asked.

    What that costs goes into the platform's own ledger, which holds its limit over all tasks.
    """
    llm = platform.config.llm
    passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
    passed_on |= {"LOOPAI_SANDBOX__REQUIRE": platform.config.sandbox.require, "TMPDIR": str(work)}
    if llm.model is None:
        return passed_on
    make_dir(work / "data")
    (work / "data" / "ledger").symlink_to(make_dir(platform.layout.ledger), target_is_directory=True)
    theirs = {name: value for name, value in os.environ.items() if _is_for_models(name)}
    limit = "null" if llm.max_usd_per_day is None else str(llm.max_usd_per_day)
    limits = {"LOOPAI_LLM__MAX_USD_PER_DAY": limit, "LOOPAI_LLM__TIMEOUT_SEC": str(llm.timeout_sec)}
    return theirs | passed_on | limits


def _is_for_models(name: str) -> bool:
    """A provider's key, or the way out."""
    way = name.upper() in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return way or (name.endswith("_API_KEY") and not name.startswith("LOOPAI_"))


async def _last_of(process: asyncio.subprocess.Process) -> str:
    """The end of what a process says on stderr."""
    kept = b""
    while process.stderr is not None and (some := await process.stderr.read(2**16)):
        kept = (kept + some)[-_KEPT_OUTPUT:]
    return kept.decode("utf-8", "replace")
