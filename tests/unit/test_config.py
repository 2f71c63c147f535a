"""The configuration: where values come from, what is refused, and edits that leave the rest of a file alone."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loopai_runtime import yamldoc
from loopai_runtime.config import Config, default_data_dir, nested, root, sources
from loopai_runtime.config.edit import scalar, set_value
from loopai_runtime.errors import ConfigError, NotFound, UsageError
from loopai_runtime.layout import Layout

# The file as the original description shows it.
ORIGINAL = """\
runtime:
  mode: edge  # edge, central, hybrid

cloud:
  api_url: https://api.example.com
  api_key: ${LOOPAI_API_KEY}
  signalr_enabled: true

execution:
  worker_count: 4
  timeout_ms: 1000

sampling:
  strategy: random
  rate: 0.05  # 5%

telemetry:
  enabled: true
  upload_interval_sec: 60
  batch_size: 1000
  privacy_mode: balanced  # strict, balanced, permissive

storage:
  data_dir: /loopai-data
  retention_days: 30
  max_size_gb: 100

privacy:
  pii_detection: true
  hash_inputs: false
  sample_only: true

retention:
  executions:
    keep_days: 7        # Raw logs
    compress_after: 1   # Gzip compression
  validations:
    keep_days: 30       # Keep longer
  artifacts:
    keep_versions: 10   # Last 10 versions
"""


class Place:
    """A data directory with a deployment.yaml to write."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "config" / "deployment.yaml"

    def write(self, text: str) -> Path:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, encoding="utf-8")
        return self.file

    def load(self, text: str | None = None, flags: dict[str, Any] | None = None, **environ: str) -> Config:
        if text is not None:
            self.write(text)
        return Config.load(data_dir=self.directory, flags=flags, environ=environ)

    def faults(self, text: str | None = None, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        return [str(fault).replace(str(self.file), "FILE") for fault in caught.value.faults]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


# --- defaults and the original's file


def test_without_a_file_everything_is_its_default(place: Place) -> None:
    config = place.load()
    assert config.runtime.mode == "edge"
    assert 1 <= config.execution.worker_count <= 4
    assert (config.execution.timeout_ms, config.sampling.rate, config.server.host) == (1000, 0.05, "127.0.0.1")
    assert config.cloud.api_url is None
    assert not any(config.is_set(key) for key in root.known_keys() if key != "storage.data_dir")


def test_retention_defaults_are_seven_one_thirty_ten(place: Place) -> None:
    retention = place.load("storage: {retention_days: 90}").retention
    assert (retention.executions.keep_days, retention.executions.compress_after) == (7, 1)
    assert (retention.validations.keep_days, retention.artifacts.keep_versions) == (30, 10)


def test_every_key_of_the_original_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(ORIGINAL, encoding="utf-8")
    config = Config.load(config_file=file, environ={"LOOPAI_API_KEY": "sk-1"})
    assert config.data_dir == Path("/loopai-data")
    assert config.cloud.api_key is not None
    assert config.cloud.api_key.get_secret_value() == "sk-1"
    shown = config.shown()
    for section, keys in yaml.safe_load(ORIGINAL).items():
        for key, value in keys.items():
            if not isinstance(value, dict) and key != "api_key":
                assert shown[f"{section}.{key}"] == value
    later = {"telemetry.max_spool_mb"}
    asked = {key for key in shown if key.startswith(("telemetry.", "privacy.pii", "retention."))} - later
    assert all(map(config.is_set, asked))


def test_every_key_is_documented_and_documented_once() -> None:
    descriptions = [field.description for field in root.known_keys().values()]
    assert all(descriptions)


def test_the_configuration_cannot_be_changed_and_travels_to_other_processes(place: Place) -> None:
    config = place.load("runtime: {mode: hybrid}")
    with pytest.raises(ValidationError, match="frozen"):
        config.runtime.mode = "edge"  # type: ignore[misc,assignment]
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert str(copy.origin("runtime.mode")) == str(config.origin("runtime.mode"))


# --- precedence


def test_flag_beats_environment_beats_file_beats_default(place: Place) -> None:
    place.write("execution: {timeout_ms: 2, memory_mb: 64}\nserver: {port: 1}\n")
    environ = {"LOOPAI_EXECUTION__TIMEOUT_MS": "3", "LOOPAI_EXECUTION__MEMORY_MB": "128"}
    config = place.load(flags={"execution.timeout_ms": 4, "server.port": None}, **environ)
    assert (config.execution.timeout_ms, config.execution.memory_mb, config.server.port) == (4, 128, 1)
    assert [str(config.origin(f"execution.{key}")) for key in ("timeout_ms", "memory_mb", "worker_count")] == [
        "flag",
        "environment LOOPAI_EXECUTION__MEMORY_MB",
        "default",
    ]
    assert str(config.origin("server.port")) == f"{place.file}:2"


@pytest.mark.parametrize(
    ("variable", "key", "value"),
    [
        ("LOOPAI_TASK_ID", "runtime.task_id", "spam-detection"),
        ("LOOPAI_RUNTIME_MODE", "runtime.mode", "central"),
        ("LOOPAI_LOG_LEVEL", "logging.level", "debug"),
        ("LOOPAI_TELEMETRY__PRIVACY_MODE", "telemetry.privacy_mode", "strict"),
        ("LOOPAI_RETENTION__EXECUTIONS__KEEP_DAYS", "retention.executions.keep_days", 3),
        ("LOOPAI_SAMPLING__RATE", "sampling.rate", 0.1),
        ("LOOPAI_CLOUD__SIGNALR_ENABLED", "cloud.signalr_enabled", False),
    ],
)
def test_environment_variables_set_their_key(place: Place, variable: str, key: str, value: object) -> None:
    config = place.load(**{variable: str(value)})
    assert config.shown()[key] == value
    assert str(config.origin(key)) == f"environment {variable}"


def test_the_long_name_of_a_variable_beats_the_short_one(place: Place) -> None:
    config = place.load(LOOPAI_RUNTIME_MODE="edge", LOOPAI_RUNTIME__MODE="hybrid")
    assert config.runtime.mode == "hybrid"


def test_an_empty_variable_counts_as_not_set(place: Place) -> None:
    config = place.load("runtime: {mode: hybrid}", LOOPAI_RUNTIME_MODE="", LOOPAI_API_KEY="", LOOPAI_NO__SUCH="")
    assert config.runtime.mode == "hybrid"
    assert config.cloud.api_key is None


def test_log_level_is_read_in_capitals_too(place: Place) -> None:
    assert place.load(LOOPAI_LOG_LEVEL="WARNING").logging.level == "warning"


def test_variables_that_orchestrators_set_by_themselves_are_left_alone(place: Place) -> None:
    config = place.load(
        LOOPAI_SERVICE_HOST="10.0.0.1", LOOPAI_PORT_8080_TCP="tcp://10.0.0.1:8080", LOOPAI_DEBUG="1"
    )
    assert config.warnings == ()


def test_a_key_spelled_with_single_underscores_is_worth_a_warning(place: Place) -> None:
    config = place.load(LOOPAI_TELEMETRY_PRIVACY_MODE="strict")
    assert config.telemetry.privacy_mode == "balanced"
    assert [str(w) for w in config.warnings] == [
        "LOOPAI_TELEMETRY_PRIVACY_MODE: has no effect; did you mean LOOPAI_TELEMETRY__PRIVACY_MODE?"
    ]


# --- the data directory


def test_data_dir_comes_from_flag_then_environment_then_config_file_then_platform(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.yaml"
    file.write_text(f"storage: {{data_dir: {tmp_path}/file}}\n", encoding="utf-8")
    environ = {"LOOPAI_DATA_DIR": str(tmp_path / "environment")}
    flag = tmp_path / "flag"
    assert Config.load(config_file=file, data_dir=flag, environ=environ).data_dir == flag
    assert Config.load(config_file=file, environ=environ).data_dir == tmp_path / "environment"
    assert Config.load(config_file=file, environ={}).data_dir == tmp_path / "file"
    file.write_text("", encoding="utf-8")
    assert Config.load(config_file=file, environ={}).data_dir == default_data_dir()


def test_the_data_directorys_own_file_cannot_move_it(place: Place) -> None:
    config = place.load("runtime: {mode: edge}\nstorage:\n  data_dir: /somewhere/else\n")
    assert config.data_dir == place.directory
    (warning,) = config.warnings
    assert (warning.line, warning.path) == (3, "$.storage.data_dir")
    assert "has no effect in this file" in warning.message


def test_a_file_that_names_the_directory_it_is_in_is_no_reason_to_warn(place: Place) -> None:
    assert place.load(f"storage: {{data_dir: {place.directory}}}").warnings == ()


def test_the_nested_variable_for_the_data_directory_names_the_right_one(place: Place) -> None:
    assert place.faults(LOOPAI_STORAGE__DATA_DIR="/x") == ["LOOPAI_STORAGE__DATA_DIR: use LOOPAI_DATA_DIR instead"]


def test_relative_paths_start_at_the_file_or_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "etc" / "loopai.yaml"
    file.write_text("storage: {data_dir: data}\nserver: {keys_file: keys}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    config = Config.load(config_file=file, environ={})
    assert (config.data_dir, config.server.keys_file) == (tmp_path / "etc/data", tmp_path / "etc/keys")
    assert Config.load(config_file=file, environ={"LOOPAI_DATA_DIR": "d"}).data_dir == tmp_path / "here/d"


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config.load(environ={"LOOPAI_DATA_DIR": "~/loopai"}).data_dir == tmp_path / "loopai"
    with pytest.raises(UsageError, match="home directory"):
        Config.load(data_dir=Path("~nosuchuser/x"), environ={})


def test_a_path_with_a_control_character_is_refused(place: Place) -> None:
    with pytest.raises(UsageError, match="no path should have"):
        Config.load(data_dir=Path("a\0b"), environ={})
    assert place.faults('server: {keys_file: "a\\0b"}')[0].endswith("has a character that no path should have")


# --- references to the environment


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("${URL}", "https://a.example"),
        ("https://${HOST}/${WHERE}", "https://b.example/x"),
        ("https://b.example/$${HOST}", "https://b.example/${HOST}"),
        ("https://b.example/$HOST", "https://b.example/$HOST"),
    ],
)
def test_references_expand_whole_and_inside_a_text(place: Place, written: str, url: str) -> None:
    environ = {"URL": "https://a.example", "HOST": "b.example", "WHERE": "x"}
    config = place.load(f'cloud: {{api_url: "{written}"}}', **environ)
    assert config.cloud.api_url == url


def test_a_reference_may_give_a_number_or_a_truth_value(place: Place) -> None:
    config = place.load("server: {port: '${PORT}'}\ntelemetry: {enabled: '${ON}'}", PORT="9000", ON="no")
    assert (config.server.port, config.telemetry.enabled) == (9000, False)


def test_what_a_variable_holds_is_not_expanded_again(place: Place) -> None:
    config = place.load('cloud: {api_url: "https://${A}/"}', A="h/${B}", B="x")
    assert config.cloud.api_url == "https://h/${B}"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${NO_SUCH}", "the environment variable NO_SUCH is not set"),
        ("${A", "has `${` without `}`; write `$${` for the characters themselves"),
        ("${}", "${} does not name an environment variable"),
        ("${A-b}", "${A-b} does not name an environment variable"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_named_with_its_line(
    place: Place, written: str, message: str
) -> None:
    assert place.faults(f"cloud:\n  api_key: '{written}'") == [f"FILE:2: $.cloud.api_key: {message}"]


def test_a_missing_variable_does_not_matter_where_something_stronger_gives_the_value(place: Place) -> None:
    config = place.load("cloud: {api_key: '${NO_SUCH}'}", flags={"cloud.api_key": "sk-flag"})
    assert config.cloud.api_key is not None
    assert config.cloud.api_key.get_secret_value() == "sk-flag"


# --- what is refused


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("telemtry: {}", "$.telemtry: unknown key; did you mean telemetry?"),
        (
            "telemetry: {privacy_mod: x}",
            "$.telemetry.privacy_mod: unknown key; did you mean telemetry.privacy_mode?",
        ),
        ("server: {timeout_ms: 1}", "$.server.timeout_ms: unknown key; did you mean execution.timeout_ms?"),
        ("worker_count: 2", "$.worker_count: unknown key; did you mean execution.worker_count?"),
        ("execution: 4", "$.execution: must be a section with keys below it"),
        ("execution: {worker_count: many}", "$.execution.worker_count: must be a whole number"),
        ("execution: {worker_count: 0}", "$.execution.worker_count: must be at least 1"),
        ("execution: {worker_count: 2.5}", "$.execution.worker_count: must be a whole number"),
        ("execution: {worker_count: }", "$.execution.worker_count: must be a whole number"),
        ("server: {port: 70000}", "$.server.port: must be at most 65535"),
        ("storage: {retention_days: true}", "$.storage.retention_days: must not be true or false"),
        ("storage: {max_size_gb: [1]}", "$.storage.max_size_gb: must be a number"),
        ("telemetry: {enabled: maybe}", "$.telemetry.enabled: must be true or false"),
        ("runtime: {mode: egde}", "$.runtime.mode: must be 'edge', 'central' or 'hybrid'"),
        ("cloud: {api_key: 12345}", "$.cloud.api_key: must be a text; put it in quotes"),
        ("cloud: {api_key: '  '}", "$.cloud.api_key: is empty"),
        ("cloud: {api_url: ftp://x}", "$.cloud.api_url: must be a URL such as https://loopai.example.com"),
        ("cloud: {api_url: 'https://a:x'}", "$.cloud.api_url: must be a URL such as https://loopai.example.com"),
        ("retention: {executions: {keep: 1}}", "$.retention.executions.keep: unknown key; did you mean "),
    ],
)
def test_a_wrong_value_is_told_with_line_and_path(place: Place, text: str, fault: str) -> None:
    (told,) = place.faults(f"# a comment\n{text}\n")
    assert told.startswith(f"FILE:2: {fault}")


def test_every_fault_of_file_and_environment_is_told_at_once(place: Place) -> None:
    text = "runtime:\n  mod: edge\nserver:\n  port: x\ncloud:\n  api_key: ${NO_SUCH}\n"
    told = place.faults(text, LOOPAI_TELEMETRY__BATCH_SIZ="3", LOOPAI_EXECUTION__MEMORY_MB="lots")
    assert sorted(told) == [
        "FILE:2: $.runtime.mod: unknown key; did you mean runtime.mode?",
        "FILE:4: $.server.port: must be a whole number",
        "FILE:6: $.cloud.api_key: the environment variable NO_SUCH is not set",
        "LOOPAI_EXECUTION__MEMORY_MB (execution.memory_mb): must be a whole number",
        "LOOPAI_TELEMETRY__BATCH_SIZ: unknown variable; did you mean LOOPAI_TELEMETRY__BATCH_SIZE?",
    ]


@pytest.mark.parametrize("rate", ["0", "0.009", "0.21", "1", ".nan"])
def test_a_sampling_rate_outside_one_to_twenty_percent_is_an_error(place: Place, rate: str) -> None:
    assert place.faults(f"sampling: {{rate: {rate}}}")


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_a_sampling_rate_within_one_to_twenty_percent_is_taken(place: Place, rate: float) -> None:
    config = place.load(f"sampling: {{rate: {rate}}}")
    assert config.sampling.rate == rate
    assert config.is_set("sampling.rate")


@pytest.mark.parametrize("key", ["pii_detection", "sample_only"])
@pytest.mark.parametrize("mode", ["strict", "balanced"])
def test_protections_may_be_off_only_in_permissive_mode(place: Place, key: str, mode: str) -> None:
    text = f"privacy:\n  {key}: false\ntelemetry: {{privacy_mode: {mode}}}\n"
    assert place.faults(text) == [
        f"FILE:2: $.privacy.{key}: may be false only with telemetry.privacy_mode: permissive"
    ]
    assert place.load(text, LOOPAI_TELEMETRY__PRIVACY_MODE="permissive").shown()[f"privacy.{key}"] is False


def test_both_broken_rules_are_told(place: Place) -> None:
    assert len(place.faults("privacy: {pii_detection: false, sample_only: false}")) == 2


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "runtime:\n", "runtime:\n  # mode: edge\nserver: {}\n"]
)
def test_empty_files_and_empty_sections_say_nothing(place: Place, text: str) -> None:
    assert place.load(text).shown() == place.load().shown()


@pytest.mark.parametrize(
    "text", ["- 1\n", "edge\n", "a: [\n", "a: 1\na: 2\n", "\ta: 1\n", "a: !!python/object x\n"]
)
def test_what_is_no_configuration_is_refused_with_its_place(place: Place, text: str) -> None:
    assert place.faults(text)[0].startswith("FILE")


def test_a_named_file_that_is_missing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        Config.load(config_file=tmp_path / "no.yaml", environ={})
    with pytest.raises(ConfigError, match="is a directory"):
        Config.load(config_file=tmp_path, environ={})


def test_a_file_with_a_byte_order_mark_and_crlf_is_read(place: Place) -> None:
    place.write("\ufeffruntime:\r\n  mode: hybrid\r\n")
    assert place.load().runtime.mode == "hybrid"


KNOWN = st.sampled_from(sorted(root.known_keys()))
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${HOME}", "${", "~"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300)
@given(st.dictionaries(KNOWN, ANYTHING, max_size=4), st.dictionaries(KNOWN, st.text(max_size=8), max_size=3))
def test_whatever_is_given_becomes_a_configuration_or_faults(
    file: dict[str, Any], environ: dict[str, str]
) -> None:
    text = yaml.safe_dump(nested(file), allow_unicode=True)
    variables = {sources.variable(key): value for key, value in environ.items()}
    try:
        layers = [sources.from_environment(variables, root.known_keys())]
        layers.append(sources.from_file(yamldoc.parse(text, "f", ConfigError), root.known_keys()))
        config = Config._assemble(layers, {"HOME": "/home/x"})
    except ConfigError as exc:
        told = bool(exc.faults)
    else:
        told = set(config.shown()) == set(root.known_keys())
    assert told


# --- secrets


def test_a_secret_is_never_part_of_what_is_shown_or_said(place: Place) -> None:
    secret = "sk-" + "q7" * 12
    config = place.load("cloud: {api_key: '${KEY}'}", KEY=secret)
    shown = config.shown()["cloud.api_key"]
    assert shown == "set (from environment)"
    assert str(config.origin("cloud.api_key")) == f"{place.file}:1 (from KEY)"
    for text in (repr(config), str(config), config.model_dump_json(), str(config.shown())):
        assert "q7" not in text
    for bad in (f"{secret} x", f"{secret}\nX: y", f"{secret}é"):
        assert "q7" not in "".join(place.faults("cloud: {api_key: '${KEY}'}", KEY=bad))
    assert "q7" not in "".join(place.faults(f"cloud: {{api_url: 'https://me:{secret}@example.com'}}"))


def test_a_key_from_a_mounted_secret_loses_its_trailing_newline(place: Place) -> None:
    config = place.load(LOOPAI_API_KEY="sk-1\n")
    assert config.cloud.api_key is not None
    assert config.cloud.api_key.get_secret_value() == "sk-1"


def test_every_secret_field_is_known_as_one() -> None:
    keys = {"cloud.api_key", "oracle.api_key", "central.database_url"}
    keys |= {"storage.encryption_key", "storage.encryption_key_before", "webhooks"}
    assert root.secret_keys() == keys


# --- what follows from other keys


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("", False),
        ("cloud: {api_url: 'https://a.example'}", False),
        ("cloud: {api_key: k}", False),
        ("cloud: {api_url: 'https://a.example', api_key: k}", True),
        ("cloud: {api_url: 'https://a.example', api_key: k}\ntelemetry: {enabled: false}", False),
    ],
)
def test_telemetry_is_off_until_address_and_key_are_both_there(place: Place, text: str, on: bool) -> None:
    assert place.load(text).telemetry_on is on


def test_rollouts_start_by_themselves_in_hybrid_mode_unless_told_otherwise(place: Place) -> None:
    assert not place.load("").rollout.auto
    assert place.load("runtime: {mode: hybrid}").rollout.auto
    assert not place.load("runtime: {mode: hybrid}\nrollout: {auto: false}").rollout.auto
    assert place.load("runtime: {mode: edge}\nrollout: {auto: true}").rollout.auto


def test_deployment_id_is_the_configured_one_or_made_once(place: Place) -> None:
    layout = Layout(place.directory)
    assert layout.deployment_id(place.load("runtime: {deployment_id: berlin-1}")) == "berlin-1"
    config = place.load("")
    made = layout.deployment_id(config)
    assert made.startswith("edge-")
    assert layout.deployment_id(config) == made
    assert (place.directory / "config" / "deployment_id").stat().st_mode & 0o777 == 0o600


# --- editing


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", "runtime.mode", "hybrid", "runtime:\n  mode: hybrid\n"),
        ("# note\n", "server.port", 1, "# note\nserver:\n  port: 1\n"),
        ("a: 1", "server.port", 1, "a: 1\nserver:\n  port: 1\n"),
        ("server:\n  port: 1 # why\n", "server.port", 2, "server:\n  port: 2 # why\n"),
        ("server:\n  port:   # why\n", "server.port", 2, "server:\n  port: 2   # why\n"),
        (
            "server:\n    port: 1\n\n# end\n",
            "server.host",
            "::1",
            'server:\n    port: 1\n    host: "::1"\n\n# end\n',
        ),
        ("server: # none\nx: 1\n", "server.port", 1, "server: # none\n  port: 1\nx: 1\n"),
        ("server: null # none\n", "server.port", 1, "server:  # none\n  port: 1\n"),
        ("server: {port: 1}\n", "server.host", "h", "server: {port: 1, host: h}\n"),
        ("server: {}\n", "server.host", "h", "server: {host: h}\n"),
        ("{server: {port: 1}}\n", "retention.executions.keep_days", 3, None),
        ("server:\r\n  port: 1\r\n", "server.host", "h", "server:\r\n  port: 1\r\n  host: h\r\n"),
        ("server:\n  host: |\n    a\n\nx: 1\n", "server.host", "b", "server:\n  host: b\n\nx: 1\n"),
        ("cloud:\n  api_key: 'k'\n", "cloud.api_key", "${K}", 'cloud:\n  api_key: "${K}"\n'),
        ("cloud:\n  api_key: k\n", "cloud.api_key", None, "cloud:\n  api_key: null\n"),
    ],
)
def test_an_edit_changes_one_value_and_nothing_else(before: str, key: str, value: Any, after: str | None) -> None:
    edited = set_value(before, key, value, "deployment.yaml")
    if after is not None:
        assert edited == after
    assert yamldoc.parse(edited, "").data is not None


@pytest.mark.parametrize(
    "text",
    ["x: &a {mode: edge}\nruntime: *a\n", "runtime: &a\n  mode: edge\nx: *a\n", "runtime: edge\n", "- 1\n"],
)
def test_a_file_that_a_program_cannot_edit_safely_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be edited by a program") as caught:
        set_value(text, "runtime.mode", "hybrid", "deployment.yaml")
    assert caught.value.hint == "write mode: hybrid into it by hand"


NAMES = st.sampled_from(["runtime", "server", "retention", "executions", "port", "host", "keep_days"])
VALUES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "no", "${X}", "a: b", "# c", "é", ""])
)
TREES = st.recursive(VALUES, lambda children: st.dictionaries(NAMES, children, max_size=3), max_leaves=8).filter(
    lambda tree: isinstance(tree, dict)
)


@settings(max_examples=300)
@given(
    tree=TREES,
    key=st.lists(NAMES, min_size=1, max_size=3).map(".".join),
    value=VALUES,
    flow=st.sampled_from([None, False, True]),
    indent=st.sampled_from([2, 4]),
)
@example(tree={"server": {}}, key="server.port", value=1, flow=False, indent=2)
def test_any_edit_says_the_old_data_with_one_change_or_is_refused(
    tree: dict[str, Any], key: str, value: Any, flow: bool | None, indent: int
) -> None:
    text = (
        "# first\n" + yaml.safe_dump(tree, default_flow_style=flow, indent=indent, allow_unicode=True) + "# last\n"
    )
    before = yamldoc.parse(text, "").data
    try:
        edited = set_value(text, key, value, "f")
    except ConfigError:
        return
    expected = before
    *parents, last = key.split(".")
    for parent in parents:
        expected[parent] = expected.get(parent) or {}
        expected = expected[parent]
    expected[last] = value
    assert yamldoc.parse(edited, "").data == before
    assert edited.startswith("# first\n")
    assert edited.count("# last") == 1


@given(st.text())
@example("\x7f \U0001f600")
def test_any_text_is_written_so_that_it_is_read_back(text: str) -> None:
    assert yamldoc.parse(f"a: {scalar(text)}\nb: [{scalar(text)}]", "").data == {"a": text, "b": [text]}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("server.port", "9000", 9000),
        ("sampling.rate", "0.1", 0.1),
        ("telemetry.enabled", "false", False),
        ("cloud.api_url", "null", None),
        ("sampling.precision", "null", None),
        ("runtime.deployment_id", "123", "123"),
        ("server.port", "${PORT}", "${PORT}"),
        ("server.port", "[", "["),
    ],
)
def test_what_is_typed_becomes_what_the_key_wants(key: str, text: str, value: object) -> None:
    typed = root.value_of(key, text)
    assert (typed, type(typed)) == (value, type(value))


def test_an_unknown_key_names_the_nearest_and_a_section_its_keys() -> None:
    with pytest.raises(UsageError, match=r"did you mean telemetry\.privacy_mode\?"):
        root.require_key("telemetry.privcy_mode")
    with pytest.raises(UsageError, match=r"is a section; its keys are server\.host, server\.port"):
        root.require_key("server")


def test_dotted_keys_nest_as_in_the_file() -> None:
    assert nested({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


def test_short_variables_name_known_keys() -> None:
    assert set(sources.SHORT_NAMES.values()) <= set(root.known_keys())
    assert sources.short_variable("cloud.api_key") == "LOOPAI_API_KEY"
    assert sources.short_variable("telemetry.privacy_mode") == "LOOPAI_TELEMETRY__PRIVACY_MODE"


def test_a_rate_or_timeout_that_was_set_wins_over_a_tasks_own(place: Place) -> None:
    unset = place.load("execution: {memory_mb: 64}")
    assert (unset.timeout_ms(400), unset.sampling_rate(0.1), unset.sampling_rate(None)) == (400, 0.1, 0.05)
    # The default's value, given all the same, is a choice.
    given = place.load("execution: {timeout_ms: 1000}\nsampling: {rate: 0.05}")
    assert (given.timeout_ms(400), given.sampling_rate(0.1)) == (1000, 0.05)
    flagged = place.load(flags={"execution.timeout_ms": 5}, LOOPAI_SAMPLING__RATE="0.2")
    assert (flagged.timeout_ms(400), flagged.sampling_rate(0.1), flagged.sampling_rate(None)) == (5, 0.2, 0.2)


def test_stages_rise_to_a_hundred_and_come_from_the_environment_as_they_are_shown() -> None:
    shown = Config().shown()["rollout.stages"]
    assert shown == [10, 50, 100]
    for text in (str(shown), "10,50,100", "(10, 50, 100)"):
        assert Config.load(environ={"LOOPAI_ROLLOUT__STAGES": text}).rollout.stages == (10, 50, 100)
    for wrong in ("50,10,100", "10,50", "0,100", "100,200"):
        with pytest.raises(ConfigError):
            Config.load(environ={"LOOPAI_ROLLOUT__STAGES": wrong})
