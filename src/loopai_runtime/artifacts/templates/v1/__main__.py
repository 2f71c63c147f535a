"""Runs the program.py beside this file with any Python 3.9 or newer; nothing has to be installed.

    python BUNDLE.zip '{"text": "Buy now!"}'     one input: its output as one JSON value
    python BUNDLE.zip --file inputs.jsonl        one result a line, in order; - or a pipe is stdin
    python BUNDLE.zip --serve --port 8080        POST /execute {"input": ...}

The unpacked folder runs in the place of BUNDLE.zip as well. Exit codes: 0 ok, 1 the program failed, 2 usage or
an input that the schema refuses, 5 no such file, 7 a line of a batch failed, 130 interrupted.

This is no sandbox: the program runs inside this process, with no limit on time or memory.
"""

# ruff: noqa: PTH106, PTH107, PTH118, PTH119, PTH120, PTH123
from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid

# Start-up is most of the time a call takes, so modules that can be done without are.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

# The folder stays as it was verified. Python has compiled this file into it before the first line here ran.
sys.dont_write_bytecode = True
if __spec__ is not None and __spec__.cached:
    try:
        os.remove(__spec__.cached)
        os.rmdir(os.path.dirname(__spec__.cached))
    except OSError:  # a read-only folder, or it holds more than that
        pass

MAX_LINE = 64 * 1024 * 1024
MAX_BODY = 1024 * 1024
AT_ONCE = 32  # requests answered at the same time; the others wait
IDLE_SECONDS = 10
DRAIN_SECONDS = 5

TYPES = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer())
    ),
}

# keyword -> the type it speaks of, what must hold, what to say if it does not
LIMITS = {
    "minLength": ("string", lambda v, n: len(v) >= n, "is shorter than {} characters"),
    "maxLength": ("string", lambda v, n: len(v) <= n, "is longer than {} characters"),
    "minItems": ("array", lambda v, n: len(v) >= n, "has less than {} items"),
    "maxItems": ("array", lambda v, n: len(v) <= n, "has more than {} items"),
    "minimum": ("number", lambda v, n: v >= n, "is less than the minimum of {}"),
    "maximum": ("number", lambda v, n: v <= n, "is greater than the maximum of {}"),
    "exclusiveMinimum": ("number", lambda v, n: v > n, "is not greater than {}"),
    "exclusiveMaximum": ("number", lambda v, n: v < n, "is not less than {}"),
}


class Failure(Exception):
    """Something to tell the caller: `kind` in results, `code` as the exit code, `status` over HTTP."""

    def __init__(self, kind: str, message: str, path: str | None = None, code: int = 1, status: int = 500) -> None:
        super().__init__(message)
        self.kind, self.message, self.path, self.code, self.status = kind, message, path, code, status

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def refused(message: str, path: str | None = None, status: int = 422) -> Failure:
    return Failure("InputError", message, path, code=2, status=status)


# --- JSON, strictly -----------------------------------------------------------------------------------------


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:30]} is too large")
    return number


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is given twice")
        found[key] = value
    return found


def parse(text: str | bytes) -> Any:
    """One JSON value, without NaN, duplicate keys and lone surrogates. Raises Failure."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(text, parse_constant=no_constant, parse_float=finite, object_pairs_hook=no_duplicates)
        dump(value)
        return value
    except json.JSONDecodeError as exc:
        raise refused(f"not JSON: {exc.msg} at character {exc.pos + 1}", status=400) from None
    except UnicodeDecodeError as exc:
        raise refused(f"not UTF-8 at byte {exc.start + 1}", status=400) from None
    except UnicodeEncodeError:
        raise refused("a lone surrogate (half of a character) in a text", status=400) from None
    except RecursionError:
        raise refused("not JSON: nested too deeply", status=400) from None
    except ValueError as exc:
        raise refused(f"not JSON: {exc}", status=400) from None


def dump(value: Any) -> bytes:
    """One line of JSON. Raises ValueError, TypeError or RecursionError for what JSON cannot say."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False).encode("utf-8")


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:100] + "…"


def same(a: Any, b: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def fault(schema: Any, value: Any, path: str = "$") -> tuple[str, str] | None:
    """The first thing wrong with a value as (JSON path, message), or None.

    Looks at type, enum, const, required, properties, additionalProperties, items and the plain limits; other
    keywords of JSON Schema, such as pattern and $ref, are checked by loopai-runtime alone.
    """
    if not isinstance(schema, dict):
        return (path, "not allowed") if schema is False else None
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(TYPES[name](value) for name in names):
        return path, f"{shown(value)} is not of type {' or '.join(shown(name) for name in names)}"
    if "enum" in schema and not any(same(value, choice) for choice in schema["enum"]):
        return path, f"{shown(value)} is not one of {shown(schema['enum'])}"
    if "const" in schema and not same(value, schema["const"]):
        return path, f"{shown(schema['const'])} was expected"
    for keyword, (kind, holds, message) in LIMITS.items():
        if keyword in schema and TYPES[kind](value) and not holds(value, schema[keyword]):
            return path, f"{shown(value)} {message.format(schema[keyword])}"
    if isinstance(value, dict):
        return object_fault(schema, value, path)
    if isinstance(value, list) and "prefixItems" not in schema:
        found = (fault(schema.get("items", {}), item, f"{path}[{i}]") for i, item in enumerate(value))
        return next((one for one in found if one), None)
    return None


def object_fault(schema: dict[str, Any], value: dict[str, Any], path: str) -> tuple[str, str] | None:
    known = schema.get("properties", {})
    others = True if "patternProperties" in schema else schema.get("additionalProperties", True)
    for name in schema.get("required", []):
        if name not in value:
            return path, f"{shown(name)} is a required property"
    for name, item in value.items():
        if name not in known and others is False:
            return path, f"{shown(name)} is not a property that the schema knows"
        if found := fault(known.get(name, others), item, f"{path}.{name}"):
            return found
    return None


# --- the task -----------------------------------------------------------------------------------------------


class Task:
    """The program and what metadata.json says about it."""

    def __init__(self) -> None:
        try:
            import program
        except Exception as exc:
            raise Failure(type(exc).__name__, f"program.py does not load: {type(exc).__name__}: {exc}") from exc
        where = os.path.join(os.path.dirname(__file__), "metadata.json")
        self.metadata: dict[str, Any] = json.loads(__loader__.get_data(where).decode("utf-8"))  # type: ignore[name-defined]
        self.name = f"{self.metadata['task_id']} v{self.metadata['version']}"
        self.run = program.run
        self.score = getattr(program, "score", None)

    def answer(self, value: Any) -> dict[str, Any]:
        """Check, run, abstain: the result object of one input. Raises Failure."""
        if found := fault(self.metadata["input_schema"], value):
            raise refused(found[1], found[0])
        started = time.perf_counter()
        output, confidence = self.call(value)
        latency_ms = round((time.perf_counter() - started) * 1000, 4)
        result: dict[str, Any] = {"output": output, "status": "success"}
        if confidence is not None:
            result["confidence"] = confidence
        policy = self.metadata.get("abstain")
        if policy is not None:
            least = policy["threshold"]
            result["abstained"] = least is None or confidence is None or confidence < least
            if result["abstained"]:
                result["output"] = None
        return {**result, **self.ends(latency_ms)}

    def call(self, value: Any) -> tuple[Any, float | None]:
        try:
            output, confidence = self.score(value) if self.score else (self.run(value), None)
            if self.score and not (TYPES["number"](confidence) and 0 <= confidence <= 1):
                raise ValueError("the confidence of score must be a number from 0 to 1")
            output, confidence = json.loads(dump([output, confidence]))  # a tuple is a list to whoever reads it
        except Exception as exc:
            raise Failure(type(exc).__name__, str(exc) or "the program failed") from exc
        if found := fault(self.metadata["output_schema"], output):
            raise Failure("OutputError", f"the output is not what the schema promises: {found[0]}: {found[1]}")
        return output, confidence

    def ends(self, latency_ms: float = 0.0) -> dict[str, Any]:
        """The fields that every result ends with."""
        return {"version": self.metadata["version"], "latency_ms": latency_ms, "execution_id": str(uuid.uuid4())}

    def argument(self, text: str) -> Any:
        """An INPUT of the command line: JSON; a task whose input is a text takes the bare text too."""
        raw: str | bytes = sys.stdin.buffer.read() if text == "-" else text
        try:
            return parse(raw)
        except Failure as exc:
            if self.metadata["input_schema"].get("type") == "string" and isinstance(raw, str):
                return raw
            exc.path = "INPUT"
            raise

    def request(self, line: Any) -> tuple[Any, Any]:
        """(input, id) of a line: an envelope where it can only be one, else the bare input."""
        own = "input" in self.metadata["input_schema"].get("properties", {})
        keys = line.keys() if isinstance(line, dict) and not own else set()
        if "input" in keys and keys <= {"input", "id", "key", "output", "expected"}:
            return line["input"], line.get("id")
        return line, None


# --- one input, many inputs ---------------------------------------------------------------------------------


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines that are not blank; only a newline ends one."""
    while raw := stream.readline(MAX_LINE + 1):
        if len(raw) > MAX_LINE:
            raise refused(f"a line of more than {MAX_LINE >> 20} MiB")
        if raw.strip(b"\xef\xbb\xbf \t\r\n"):
            yield raw.rstrip(b"\r\n")


def batch(task: Task, stream: IO[bytes], on_error: str) -> tuple[int, int]:
    """Answer every line. Returns how many were read and the exit code."""
    count = failed = 0
    for raw in lines(stream):
        count += 1
        name: Any = None
        try:
            value, name = task.request(parse(raw))
            result = task.answer(value)
        except Failure as exc:
            failed += 1
            error = {"type": exc.kind, "message": exc.message, **({"path": exc.path} if exc.path else {})}
            result = {"output": None, "status": "error", **task.ends(), "error": error}
        if "error" not in result or on_error != "skip":
            write(dump(result if name is None else {"id": name, **result}))
        if "error" in result and on_error == "fail":
            print(f"error: line {count}: {exc_text(result['error'])}", file=sys.stderr)
            print("  --on-error skip or null goes on after a failed line", file=sys.stderr)
            return count, 7
    if failed:
        print(f"{failed} of {count} lines failed", file=sys.stderr)
    return count, 7 if failed else 0


def exc_text(error: dict[str, Any]) -> str:
    return ": ".join(error[key] for key in ("path", "message") if key in error)


# --- over HTTP ----------------------------------------------------------------------------------------------


def serve(task: Task, host: str, port: int) -> int:
    import signal
    import socket
    import threading
    from http import HTTPStatus
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    slots = threading.BoundedSemaphore(AT_ONCE)

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "loopai-program", "", IDLE_SECONDS

        def do_GET(self) -> None:
            if self.path == "/healthz":
                return self.send(200, {"status": "ok"})
            return self.problem(405 if self.path == "/execute" else 404, f"no GET {self.path}; POST /execute")

        def do_POST(self) -> None:
            if self.path != "/execute":
                return self.problem(404, f"no POST {self.path}; POST /execute")
            try:
                body = self.body()
                with slots:
                    self.send(200, execute(task, body))
            except Failure as exc:
                self.problem(exc.status, exc.message, exc.path)
            except OSError:  # the client was too slow or went away
                pass

        def body(self) -> bytes:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                raise refused("a body with Content-Length is needed", status=411)
            if len(length) > 9 or int(length) > MAX_BODY:
                if len(length) <= 7:  # hear a modest client out, else it sees a reset and not the answer
                    self.rfile.read(int(length))
                raise refused(f"the body is larger than {MAX_BODY >> 20} MiB", status=413)
            return self.rfile.read(int(length))

        def problem(self, status: int, detail: str, path: str | None = None) -> None:
            title = HTTPStatus(status).phrase
            fields = {"type": "about:blank", "title": title, "status": status, "detail": detail}
            self.send(status, {**fields, **({"path": path} if path else {})}, "application/problem+json")

        def send(self, status: int, value: Any, kind: str = "application/json") -> None:
            data = dump(value)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            self.problem(code, explain or message or HTTPStatus(code).phrase)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: inputs are nobody's business."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, port), Handler)
    except OSError as exc:
        print(f"error: cannot listen on {host}:{port}: {exc.strerror or exc}", file=sys.stderr)
        return 1
    # shutdown() waits for the loop that the signal interrupts, so another thread has to call it.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    address = f"[{host}]" if ":" in host else host
    print(f"serving {task.name} at http://{address}:{server.server_address[1]}/execute", file=sys.stderr)
    print(
        "this is no sandbox: the program runs in this process, without limits or keys", file=sys.stderr, flush=True
    )
    with server:
        server.serve_forever(poll_interval=0.1)
    for _ in range(AT_ONCE):
        slots.acquire(timeout=DRAIN_SECONDS)
    return 0


def execute(task: Task, body: bytes) -> dict[str, Any]:
    """The answer to the body of an /execute request. Raises Failure."""
    request = parse(body)
    if not isinstance(request, dict) or "input" not in request:
        raise refused('the body must be an object with "input"', "$")
    asked = request.get("task_id", task.metadata["task_id"])
    if asked != task.metadata["task_id"]:
        raise refused(f"this serves {task.metadata['task_id']} alone, not {shown(asked)}", status=404)
    result = task.answer(request["input"])
    answer = {name: result[name] for name in ("output", "latency_ms", "execution_id")}
    answer.update(task_id=task.metadata["task_id"], version=result["version"])
    answer.update({name: result[name] for name in ("confidence", "abstained") if name in result})
    return {**answer, "source": "none" if result.get("abstained") else "program"}


# --- the command line ---------------------------------------------------------------------------------------


def arguments() -> argparse.ArgumentParser:
    program = os.path.basename(sys.argv[0].rstrip("/")) or "."
    parser = argparse.ArgumentParser(prog=f"python {program}", description="Runs one verified program.")
    parser.add_argument("input", metavar="INPUT", nargs="?", help="the input as one JSON value, or - for stdin")
    parser.add_argument("--file", "-f", metavar="FILE", help="a JSONL file of inputs, or - for stdin")
    parser.add_argument(
        "--on-error", choices=("fail", "skip", "null"), default="fail", help="stop at, drop or keep a failed line"
    )
    parser.add_argument("--serve", action="store_true", help="answer POST /execute")
    parser.add_argument("--host", default="127.0.0.1", help="with --serve (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="with --serve (default %(default)s)")
    return parser


def main() -> int:
    parser = arguments()
    given = parser.parse_args()
    if (given.input is not None) + (given.file is not None) + given.serve > 1:
        parser.error("give an INPUT, --file or --serve, one of them")
    task = Task()
    if given.serve:
        return serve(task, given.host, given.port)
    if given.input is not None:
        write(dump(task.answer(task.argument(given.input))["output"]))
        return 0
    if given.file not in (None, "-"):
        with open(given.file, "rb") as stream:
            return batch(task, stream, given.on_error)[1]
    count, code = 0, 0
    if sys.stdin is not None and (given.file or not sys.stdin.isatty()):
        count, code = batch(task, sys.stdin.buffer, given.on_error)
    if count == 0 and given.file is None:
        parser.print_usage(sys.stderr)
        return 2
    return code


def guarded() -> int:
    """main, with each way to fail as a line on stderr and an exit code."""
    try:
        return main()
    except Failure as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.code
    except (FileNotFoundError, IsADirectoryError) as exc:
        print(f"error: {exc.filename}: no such file", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader went away; keep the exit hook from flushing again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(guarded())
