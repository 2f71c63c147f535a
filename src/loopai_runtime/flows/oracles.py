"""The oracle of a task, assembled: its options, what it may see, what it may cost, and where its answers are kept."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import jsonl
from loopai_runtime.compare import config_for
from loopai_runtime.datasets import labels as label_file
from loopai_runtime.datasets import queue
from loopai_runtime.errors import Fault, InputError, NotFound, SpecError, StorageError
from loopai_runtime.models import OracleConfig, new_id, utc_now
from loopai_runtime.outbound import is_loopback, place_of
from loopai_runtime.redaction import Redactor
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.examples import load_saved
from loopai_runtime.synthesis.rows import RowReader
from loopai_runtime.validation import options as option_rules
from loopai_runtime.validation import prompt
from loopai_runtime.validation.answers import Answers
from loopai_runtime.validation.chat import Chat, SameMeaning
from loopai_runtime.validation.oracle import Remote
from loopai_runtime.validation.pace import Breaker, Pace
from loopai_runtime.validation.paid import Fee
from loopai_runtime.validation.people import Human, Labels
from loopai_runtime.validation.post import Post
from loopai_runtime.validation.veil import Veil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loopai_runtime.compare import Judge
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.llm import Purpose, Purse
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.validation.chat import Talks
    from loopai_runtime.validation.oracle import Oracle, Source

Send = Literal["redacted", "full", "none"]
PURPOSES: frozenset[str] = frozenset({"label", "validate", "defer", "audit", "judge"})
"""What of the ledger's entries counts against an oracle's own `max_usd_per_day`."""

_FIRST = 200  # characters of the first input that are shown
_OPENAI_KEY = "OPENAI_API_KEY"


def task_spec(layout: Layout, artifact: ProgramArtifact) -> Loaded:
    """The specification that is kept with a task; of a version that was pulled or imported, what it says itself.

    Raises SpecError, StorageError.
    """
    if layout.spec(artifact.task_id).exists():
        return specfile.load_saved(layout, artifact.task_id)
    text = jsonl.dumps(
        {
            "name": artifact.task_id,
            "description": artifact.description or artifact.task_id,
            "input_schema": artifact.input_schema,
            "output_schema": artifact.output_schema,
        }
    )
    return specfile.parse(text, f"{artifact.task_id}@{artifact.version}", layout.task(artifact.task_id))


def chosen(loaded: Loaded, config: Config) -> OracleConfig | None:
    """The specification's oracle, with what the deployment sets put over it; None where neither names a kind."""
    own = loaded.spec.oracle
    given = {
        name: getattr(config.oracle, name)
        for name in ("kind", "send", "model", "url", "max_usd_per_day")
        if config.is_set(f"oracle.{name}") and getattr(config.oracle, name) is not None
    }
    if config.oracle.api_key is not None:
        given["api_key"] = config.oracle.api_key.get_secret_value().replace("${", "$${")
    if own is None and "kind" not in given:
        return None
    kept = (
        own.model_dump(exclude_unset=True) if own is not None and given.get("kind", own.kind) == own.kind else {}
    )
    return OracleConfig.model_validate(kept | given)


def oracle_of(
    loaded: Loaded,
    layout: Layout,
    config: Config,
    *,
    purpose: Purpose,
    tell: Callable[[str], None] = lambda _line: None,
    timeout_s: float | None = None,
    show: Sequence[prompt.Example] | None = None,
) -> Oracle | None:
    """The oracle of a task, None where it has none.

    `tell` hears one line about what leaves this machine, before the first call. `timeout_s` is the most that a call
    may take, whatever the options say; `show` are the examples that a model is shown, else `shown_examples`.
    Raises SpecError for options that do not fit, MissingExtra, ModelError, StorageError.
    """
    options = chosen(loaded, config)
    if options is None:
        return None
    if faults := option_rules.faults(options, loaded.document):
        raise SpecError(faults)
    options = option_rules.expanded(options)
    if timeout_s is not None:
        options = options.model_copy(update={"timeout_s": min(timeout_s, options.timeout_s)})
    build = _Build(loaded, layout, options, purpose, tell)
    if options.kind == "labels":
        return Labels(options.file or "labels.jsonl", build.lookup())
    if options.kind == "human":
        return Human(build.lookup(), None if purpose == "defer" else build.enqueue)
    return build.remote(shown_examples(loaded, layout, options) if show is None else show)


def judge_of(loaded: Loaded, layout: Layout, config: Config, tell: Callable[[str], None]) -> Judge | None:
    """Who says whether two outputs mean the same, where the specification's `compare` asks for that.

    Raises SpecError where the oracle is no model, and as `oracle_of`.
    """
    compare = loaded.spec.compare
    if "semantic" not in (compare.method, *(field.method for field in compare.fields.values())):
        return None
    options = chosen(loaded, config)
    if options is None or options.kind not in ("llm", "openai"):
        path = "$.compare"
        message = "a semantic comparison needs an oracle of kind llm or openai"
        raise SpecError([Fault(message, loaded.document.file, loaded.document.line(path), path)])
    return _Build(loaded, layout, option_rules.expanded(options), "judge", tell).judge()


def comparing(loaded: Loaded) -> Any:
    """How the task's outputs are compared with the right ones."""
    return config_for(loaded.spec.compare, loaded.spec.output_schema)


def shown_examples(loaded: Loaded, layout: Layout, options: OracleConfig) -> list[prompt.Example]:
    """The examples that a model is shown: of those the last version was made from, else the specification's own."""
    if options.kind not in ("llm", "openai") or options.examples == 0:
        return []
    saved = load_saved(layout, loaded.spec.task_id)
    examples = [prompt.Example(one.input, one.output) for one in saved or loaded.spec.examples]
    return prompt.shown(examples, options.examples)


@dataclass(frozen=True)
class _Build:
    """One assembly: the parts that an oracle is put together from."""

    loaded: Loaded
    layout: Layout
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

    def enqueue(self, value: Any) -> None:
        """Let an input wait for a person, once."""
        key = jsonl.canonical(value)
        if any(jsonl.canonical(item["input"]) == key for item in queue.read(self.layout, self.task_id)):
            return
        waiting = {"input": value, "output": None, "execution_id": new_id(), "timestamp": utc_now()}
        queue.append(self.layout, self.task_id, [waiting | {"source": "oracle"}])

    # --- what is reached by a call

    def remote(self, examples: Sequence[prompt.Example]) -> Remote:
        options = self.options
        send = self.send
        veil = self.veil
        shown = [prompt.Example(veil.hide(one.input).sent, veil.hide(one.output).sent) for one in examples]
        cache = Answers(self.layout.cache("oracle"), self.layout.secret("cache"), self._who(shown, send))
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
            from loopai_runtime.llm import Model

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
        return Ledger(self.layout, self.task_id, max_usd_per_command=math.inf, budget=budget)

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
            return f"command {Path(option_rules.arguments(options)[0]).name}"
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
        with_them = f" with the task's description and {examples} examples" if self.options.model else ""
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
