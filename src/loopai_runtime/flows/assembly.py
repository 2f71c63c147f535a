"""An oracle put together: where its answers come from, what it may see, what it may cost, what is kept."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels as label_file
from loopai_runtime.datasets import queue
from loopai_runtime.errors import Fault, InputError, NotFound, SpecError, StorageError
from loopai_runtime.models import OracleConfig, new_id, utc_now
from loopai_runtime.outbound import is_loopback, place_of
from loopai_runtime.redaction import Redactor
from loopai_runtime.synthesis.rows import RowReader
from loopai_runtime.validation import options as option_rules
from loopai_runtime.validation import prompt
from loopai_runtime.validation.answers import Answers
from loopai_runtime.validation.chat import Chat, SameMeaning
from loopai_runtime.validation.oracle import Remote
from loopai_runtime.validation.pace import Breaker, Pace
from loopai_runtime.validation.paid import Fee
from loopai_runtime.validation.post import Post
from loopai_runtime.validation.veil import Veil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.llm import Purpose, Purse
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.validation.chat import Talks
    from loopai_runtime.validation.oracle import Source

Send = Literal["redacted", "full", "none"]
PURPOSES: frozenset[str] = frozenset({"label", "validate", "defer", "audit", "judge"})
"""What of the ledger's entries counts against an oracle's own `max_usd_per_day`."""

_FIRST = 200  # characters of the first input that are shown
_OPENAI_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Assembly:
    """What one oracle is put together from, and its parts. `remote` and `judge` are whole."""

    loaded: Loaded
    layout: Layout
    config: Config
    options: OracleConfig
    purpose: Purpose
    tell: Callable[[str], None]

    @property
    def task_id(self) -> str:
        return self.loaded.spec.task_id

    # --- persons and files

    def lookup(self) -> Callable[[], Mapping[bytes, Any]]:
        """The labels that are known: of the file, which is read once, or of labels.jsonl whenever it is asked."""
        if self.options.file is not None:
            known = self._file(self.options.file)
            return lambda: known
        sources = None if self.options.kind == "labels" else label_file.BY_PERSONS

        def now() -> Mapping[bytes, Any]:
            found = label_file.known(self.layout, self.task_id, sources)
            return {key: one.output for key, one in found.items() if one.source != "synthetic"}

        return now

    def _file(self, name: str) -> dict[bytes, Any]:
        """Raises SpecError with the file's faults."""
        options, document = self.options, self.loaded.document
        reader = RowReader(self.loaded.input_schema, self.loaded.output_schema, options.input, options.output)
        try:
            rows = list(reader.read(self.loaded.base_dir / name, name))
        except (NotFound, StorageError) as exc:
            path = "$.oracle.file"
            raise SpecError([Fault(f"{name}: {exc.message}", document.file, document.line(path), path)]) from None
        if faults := reader.faults():
            raise SpecError(faults)
        return {jsonl.canonical(row.input): row.output for row in rows}

    def enqueue(self, values: list[Any]) -> None:
        """Let inputs wait for a person, each once."""
        there = {jsonl.canonical(item["input"]) for item in queue.read(self.layout, self.task_id)}
        about = {"output": None, "timestamp": utc_now(), "source": "oracle"}
        rows = [
            {"input": value, "execution_id": new_id()} | about
            for value in values
            if jsonl.canonical(value) not in there
        ]
        queue.append(self.layout, self.task_id, rows)

    # --- what is reached by a call

    def remote(self, examples: Sequence[prompt.Example]) -> Remote:
        options = self.options
        send = self.send
        veil = self.veil
        shown = [prompt.Example(veil.hide(one.input).sent, veil.hide(one.output).sent) for one in examples]
        cache = Answers(self.layout, self._who(shown, send))
        return Remote(
            options.kind,
            self.name,
            self._source(shown),
            outputs=self.loaded.output_schema,
            veil=veil,
            cache=cache if options.cache else None,
            breaker=Breaker(),
            pace=Pace(options.rate, options.timeout_s if self.purpose == "defer" else math.inf),
            concurrency=options.concurrency,
            before_first=lambda value: self._announce(value, len(shown)),
        )

    def judge(self) -> SameMeaning:
        heard: list[bool] = []

        def before(_value: Any) -> None:
            if not heard:
                heard.append(True)
                self._announce(None, 0)

        return SameMeaning(self.model(), self.loaded.spec.description, self.veil, before)

    def _source(self, shown: Sequence[prompt.Example]) -> Source:
        options, outputs = self.options, self.loaded.output_schema
        if options.kind in ("llm", "openai"):
            return Chat(
                self.model(),
                description=self.loaded.spec.description,
                inputs=self.loaded.input_schema,
                outputs=outputs,
                examples=shown,
                purpose=self.purpose,
                n=options.n,
                max_tokens=options.max_tokens,
            )
        fee = Fee(self.purse, options.usd_per_call or 0.0, purpose=self.purpose, name=self.name)
        if options.kind == "http":
            from loopai_runtime.validation.service import Service

            return Service(self._post(self.url), timeout_s=options.timeout_s, batch=options.batch, fee=fee)
        from loopai_runtime.validation.command import Command

        arguments, folder = option_rules.arguments(options), self.loaded.base_dir
        return Command(
            arguments, folder, timeout_s=options.timeout_s, batch=options.batch, outputs=outputs, fee=fee
        )

    def model(self) -> Talks:
        """Raises MissingExtra, ModelError, SpecError where what it costs is not known."""
        from loopai_runtime.llm import Prices

        options = self.options
        prices = Prices(options.prices.input, options.prices.output) if options.prices else None
        if options.kind == "llm":
            from loopai_runtime.llm import Model, provider

            if self.purpose == "defer":
                provider.litellm()  # its import takes seconds, which no request has
            return Model(replace(self._endpoint(), prices=prices), self.purse)
        from loopai_runtime.validation.openai import OpenAI, completions_url

        if prices is None and not self.is_loopback:
            message = f"the price of {options.model} is not known here, so no limit of money holds"
            raise self._fault(
                message, "prices", "give prices: {input: …, output: …} in US dollars per million tokens"
            )
        post = self._post(completions_url(self.url))
        prices = prices or Prices(0.0, 0.0)
        return OpenAI(post, options.model or "", prices=prices, purse=self.purse, timeout_s=options.timeout_s)

    def _endpoint(self) -> Any:
        from pydantic import SecretStr

        from loopai_runtime.llm import Endpoint

        options = self.options
        key = SecretStr(options.api_key) if options.api_key else None
        return Endpoint(options.model or "", api_base=options.url, api_key=key, timeout_s=options.timeout_s)

    def _post(self, url: str) -> Post:
        options = self.options
        key = options.api_key
        if options.kind == "openai" and options.url is None and key is None:
            import os

            key = os.environ.get(_OPENAI_KEY)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return Post(url, headers | options.headers, place_of(url), key)

    @property
    def purse(self) -> Purse:
        from loopai_runtime.ledger import Budget, Ledger

        budget = Budget("oracle.max_usd_per_day", self.options.max_usd_per_day, PURPOSES)
        return Ledger(
            self.layout,
            self.task_id,
            max_usd_per_command=math.inf,
            max_usd_per_day=self.config.llm.max_usd_per_day,
            budget=budget,
        )

    # --- what leaves, and where to

    @property
    def url(self) -> str:
        import os

        from loopai_runtime.validation.openai import BASE_URL

        if self.options.url is not None:
            return self.options.url
        return os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or BASE_URL

    @property
    def name(self) -> str:
        """Who it is, in records: `llm gpt-4o`."""
        options = self.options
        if options.kind == "command":
            program, *others = option_rules.arguments(options)
            script = next((one for one in others if (self.loaded.base_dir / one).is_file()), "")
            return f"command {Path(program).name} {Path(script).name}".rstrip(" .")
        return f"{options.kind} {options.model or place_of(self.url)}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        if self.options.kind == "command":
            return True
        return bool(self._endpoint().loopback) if self.options.kind == "llm" else is_loopback(self.url)

    @property
    def destination(self) -> str:
        if self.options.kind == "command":
            return shlex.join(option_rules.arguments(self.options)[:1])
        return str(self._endpoint().destination) if self.options.kind == "llm" else place_of(self.url)

    @property
    def send(self) -> Send:
        """Raises SpecError where nothing may be sent and this oracle would need it."""
        if self.options.kind == "command":
            return "full"
        send = self.options.send
        if send == "none":
            message = f"send is none, and kind {self.options.kind} is asked by sending"
            raise self._fault(message, "send", "command, labels and human send nothing; or allow send: redacted")
        return send or ("full" if self.is_loopback else "redacted")

    @property
    def veil(self) -> Veil:
        return Veil(Redactor() if self.send == "redacted" else None)

    def _announce(self, value: Any, examples: int) -> None:
        """Say and audit what leaves, before it does."""
        if self.options.kind == "command":
            return
        from loopai_runtime.events import Audit

        what = "inputs" if self.purpose != "judge" else "outputs"
        with_them = " with the task's description" if self.options.model else ""
        with_them += f" and {examples} examples" if examples else ""
        how = "personal data redacted" if self.send == "redacted" else "as they are"
        line = f"oracle {self.name}: {what} go to {self.destination}{with_them}, {how} (oracle.send: {self.send})"
        if self.send == "redacted" and value is not None:
            line += f", such as {_short(value)}"
        self.tell(line)
        Audit(self.layout).record(
            "oracle.send",
            task_id=self.task_id,
            oracle=self.name,
            destination=self.destination,
            send=self.send,
            purpose=self.purpose,
            examples=examples,
        )

    def _who(self, shown: Sequence[prompt.Example], send: Send) -> dict[str, Any]:
        """What an answer depends on beside the input."""
        options, spec = self.options, self.loaded.spec
        who: dict[str, Any] = {
            "task": self.task_id,
            "kind": options.kind,
            "send": send,
            "output": spec.output_schema,
        }
        if options.kind == "command":
            arguments = option_rules.arguments(options)
            return who | {"command": arguments, "files": [_stamp(self.loaded.base_dir / one) for one in arguments]}
        who["url"] = options.url
        if options.model is None:
            return who
        return who | {
            "model": options.model,
            "n": options.n,
            "edition": prompt.EDITION,
            "description": spec.description,
            "input": spec.input_schema,
            "examples": [list(one) for one in shown],
        }

    def _fault(self, message: str, option: str, hint: str) -> SpecError:
        path = f"$.oracle.{option}"
        document = self.loaded.document
        return SpecError([Fault(message, document.file, document.line(path), path)], hint=hint)


def _short(value: Any) -> str:
    try:
        text = jsonl.dumps(value)
    except (ValueError, InputError):
        return "…"
    return text if len(text) <= _FIRST else text[:_FIRST] + "…"


def _stamp(path: Path) -> int:
    """When a file of a command changed last: a script that was mended is asked again."""
    try:
        return path.stat().st_mtime_ns if path.is_file() else 0
    except OSError:
        return 0
