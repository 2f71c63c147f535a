"""The oracle of a task: which one it is, as its specification and the deployment say, and ready to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loopai_runtime import jsonl
from loopai_runtime.compare import config_for
from loopai_runtime.errors import Fault, SpecError
from loopai_runtime.flows.assembly import Assembly
from loopai_runtime.models import OracleConfig
from loopai_runtime.synthesis import specfile
from loopai_runtime.synthesis.examples import load_saved
from loopai_runtime.validation import options as option_rules
from loopai_runtime.validation import prompt
from loopai_runtime.validation.people import Human, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.compare import Judge
    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.llm import Purpose
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.validation.oracle import Oracle

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

    `tell` hears one line about what leaves this machine, before the first call. `timeout_s` is the most that a
    call may take, whatever the options say; `show` are the examples that a model is shown, else `shown_examples`.
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
    build = Assembly(loaded, layout, config, options, purpose, tell)
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
    return Assembly(loaded, layout, config, option_rules.expanded(options), "judge", tell).judge()


def comparing(loaded: Loaded) -> Any:
    """How the task's outputs are compared with the right ones."""
    return config_for(loaded.spec.compare, loaded.spec.output_schema)


def shown_examples(loaded: Loaded, layout: Layout, options: OracleConfig) -> list[prompt.Example]:
    """The examples that a model is shown: of those the last version was made from, else of the specification."""
    if options.kind not in ("llm", "openai") or options.examples == 0:
        return []
    saved = load_saved(layout, loaded.spec.task_id)
    examples = [prompt.Example(one.input, one.output) for one in saved or loaded.spec.examples]
    return prompt.shown(examples, options.examples)
