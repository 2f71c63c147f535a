"""A task's whole life with a storage key, by real processes: no byte of an input is plain in the data directory."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.bars import SOAK

from loopai_runtime import at_rest
from loopai_runtime.config import Config
from loopai_runtime.crypto import MAGIC_BYTES, is_encrypted, vault_of
from loopai_runtime.datasets import labels, queue
from loopai_runtime.layout import Layout
from loopai_runtime.testing import ScriptedOracle

from .conftest import Done, Loopai
from .test_scan_cli import call
from .test_server import Server, add, serving

KEY, NEXT = "11" * 32, "22" * 32
FILL = ("a", "the", "we", "you", "please", "for", "with", "about", "our", "next", "this", "some", "day", "soon")
BETTER = "def run(x):\n    return 'spam' if 'win' in x['text'] or 'crypto' in x['text'] else 'ham'\n"
HAM = ("lunch", "report", "thanks")
PATIENCE_S = 180.0

pytestmark = pytest.mark.slow


class Mail:
    """Mails with a word each that nobody else says: a secret. Of offers nobody could tell what they are."""

    def __init__(self, seed: int) -> None:
        self.secrets: list[str] = []
        self._draw = random.Random(seed)

    def __call__(self, *spam: str, offers: bool = True) -> tuple[dict[str, Any], str]:
        """A mail, which may say one of `spam`, and what it is."""
        word = self._draw.choice([*spam, *HAM, *["offer"][:offers]])
        mail = {"text": " ".join([*self._draw.sample(FILL, 4), word, self.secret()])}
        return mail, right(mail)

    def secret(self) -> str:
        self.secrets.append("".join(self._draw.choice("bcdfghjklmnpqrstvwxz") for _ in range(12)))
        return self.secrets[-1]


def right(mail: dict[str, Any]) -> str:
    words = mail["text"].split()
    is_spam = words[-1] < "m" if "offer" in words else {"win", "crypto"} & set(words)
    return "spam" if is_spam else "ham"


@dataclass
class Life:
    """What was left behind when it was over."""

    loopai: Loopai
    layout: Layout
    secrets: list[str]
    inline: str
    """A secret of the specification itself."""


def settings(oracle: ScriptedOracle, **storage: Any) -> dict[str, Any]:
    return {
        "storage": storage,
        "oracle": {"kind": "http", "url": oracle.url},
        "sampling": {"rate": 0.2},
        "execution": {"worker_count": 1},
        "runtime": {"upkeep_interval_sec": 3600},
        "improvement": {"auto": False},
        "webhooks": [{"url": "http://127.0.0.1:9/hook", "secret": "whsec_" + "c2VjcmV0" * 4}],
        "rollout": {"min_dwell_sec": 0.5, "min_labels": 5, "watch_hours": 1},
        "telemetry": {"privacy_mode": "permissive", "upload_interval_sec": 1},
        "cloud": {"api_url": "http://127.0.0.1:9", "api_key": "lk_nobody", "signalr_enabled": False},
    }


def specification(root: Path, mail: Mail, inline: str) -> Path:
    def rows(n: int) -> str:
        found = (mail("win") for _ in range(n))
        return "".join(json.dumps({"input": value, "output": output}) + "\n" for value, output in found)

    (root / "train.jsonl").write_text(rows(240))
    (root / "more.jsonl").write_text(rows(100))
    spec = {
        "name": "mail", "description": "Is the mail spam?", "output_schema": {"enum": ["spam", "ham"]},
        "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "examples": [{"input": {"text": f"win {inline}"}, "output": "spam"}],
        "examples_from": [{"file": "train.jsonl"}], "unlabelled_from": [{"file": "more.jsonl"}],
        "accuracy_target": 0.8, "generate": {"strategy": "ml"},
        "abstain": {"target_accuracy": 0.9, "on_abstain": "queue"},
    }  # fmt: skip
    (root / "spec.yaml").write_text(json.dumps(spec))
    return root / "spec.yaml"


def ok(done: Done, *codes: int) -> Done:
    assert done.code in (codes or (0,)), done.err
    return done


def until(holds: Any, server: Server, mail: Mail) -> None:
    """Send mails until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        for _ in range(20):
            assert server.execute("mail", mail("win", *["lunch crypto"] * 3)[0]["text"])[0] == 200


@pytest.fixture(scope="module")
def oracle() -> Iterator[ScriptedOracle]:
    with ScriptedOracle(lambda asked: (200, {"output": right(asked["input"])})) as found:
        yield found


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, oracle: ScriptedOracle) -> Life:
    root, mail = tmp_path_factory.mktemp("life"), Mail(5)
    loopai = Loopai(root / "data")
    layout = Layout(root / "data")
    layout.config_file.parent.mkdir(parents=True, mode=0o700)
    (root / "storage.key").write_text(KEY + "\n")
    layout.config_file.write_text(json.dumps(settings(oracle, encryption_key_file=str(root / "storage.key"))))
    layout.vault = vault_of(Config.load(data_dir=layout.root, environ={}).storage)
    ok(loopai("generate", specification(root, mail, inline := mail.secret())), 0, 3)
    with serving(layout.root) as server:
        sent = len(mail.secrets)
        until(lambda: len(queue.read(layout, "mail")) >= 12 and len(mail.secrets) > sent + 600, server, mail)
        ok(loopai("run", "mail", json.dumps(mail("crypto")[0])))
        ok(loopai("label", "mail", "--limit", "8", stdin="1212u12212"))
        ok(loopai("validate", "mail", "-o", "json"), 0, 3)
        ok(loopai("improve", "mail", "-o", "json"), 0, 3)
        version = add(layout, "mail", BETTER, activate=False, output_schema={"enum": ["spam", "ham"]})
        ok(loopai("rollout", "start", f"mail@{version}"))
        until(lambda: at_rest.found(layout.shadow("mail"), "labels-*.jsonl"), server, mail)
        ok(loopai("analyze", "mail", "--failures"))
    logged = Mail(6)
    mails = [logged("win", offers=False) for _ in range(200)]
    calls = [
        call(f"Is this message spam or ham?\nMessage: {one['text']}", out, n) for n, (one, out) in enumerate(mails)
    ]
    (root / "calls.jsonl").write_text("".join(json.dumps(one) + "\n" for one in calls))
    ok(loopai("scan", root / "calls.jsonl"))
    ok(loopai("generate", "message-spam-ham"), 0, 3)
    loopai("telemetry", "flush")  # nobody is there
    secrets = [secret for secret in mail.secrets + logged.secrets if secret != inline]
    return Life(loopai, layout, secrets, inline)


@pytest.fixture
def copied(life: Life, tmp_path: Path) -> Life:
    shutil.copytree(life.layout.root, tmp_path / "data", symlinks=True)
    layout = Layout(tmp_path / "data")
    layout.vault = life.layout.vault
    return Life(Loopai(layout.root), layout, life.secrets, life.inline)


def files(life: Life) -> list[Path]:
    return sorted(path for path in life.layout.root.rglob("*") if path.is_file() and not path.is_symlink())


def name(life: Life, path: Path) -> str:
    return str(path.relative_to(life.layout.root))


def test_it_was_a_whole_life(life: Life) -> None:
    places = {
        tuple(name(life, path).split("/")[:1]) for path in files(life) if is_encrypted(path.read_bytes()[:8])
    }
    assert {place for (place,) in places} >= {"tasks", "datasets", "improvements", "telemetry", "cache"}
    kinds = {path.name for path in files(life)}
    assert kinds >= {"labels.jsonl.enc", "queue.jsonl.enc", "examples.jsonl", "suggestions.jsonl", "calls.jsonl"}
    assert len(list(labels.read(life.layout, "mail"))) >= 8


def test_no_secret_is_anywhere_in_plain(life: Life) -> None:
    hits = {}
    for path in files(life):
        content = path.read_bytes()
        if found := [secret for secret in life.secrets if secret.encode() in content]:
            hits[name(life, path)] = found[:3]
    assert hits == {}


def test_the_specification_stays_as_its_author_wrote_it(life: Life) -> None:
    holding = [name(life, path) for path in files(life) if life.inline.encode() in path.read_bytes()]
    assert holding == ["tasks/mail/spec.yaml"]


def text(life: Life, path: Path) -> bytes:
    """What a file says; also one whose writer was never told to close it."""
    with at_rest.opened(life.layout, path) as file:
        return file.read()


def test_everything_is_there_with_the_key(life: Life) -> None:
    everything = b"".join(text(life, path) for path in files(life))
    assert sum(secret.encode() in everything for secret in life.secrets) > 0.9 * len(life.secrets)
    shown = ok(life.loopai("logs", "decrypt", at_rest.encrypted(life.layout.labels("mail"))))
    assert [line["input"] for line in shown.lines] == [one.input for one in labels.read(life.layout, "mail")]
    executions = ok(life.loopai("logs", "decrypt", "mail")).lines
    assert len(executions) > 600
    ok(life.loopai("check", life.layout.spec("message-spam-ham")))


def test_without_the_key_commands_say_so(copied: Life) -> None:
    config = json.loads(copied.layout.config_file.read_text())
    del config["storage"]["encryption_key_file"]
    copied.layout.config_file.write_text(json.dumps(config))
    for command in (["label", "mail"], ["validate", "mail"], ["improve", "mail"], ["analyze", "mail"]):
        done = copied.loopai(*command)
        assert done.code == 1, (command, done)
        assert "is encrypted, and no key is given" in done.err
        assert "storage.encryption_key" in done.err
        assert len(done.err.splitlines()) <= 3
    wrong = copied.loopai("label", "mail", env={"LOOPAI_STORAGE__ENCRYPTION_KEY": NEXT})
    assert (wrong.code, "was encrypted with another key" in wrong.err) == (1, True)
    server = copied.loopai("start", "--port", "0", env={"LOOPAI_STORAGE__ENCRYPTION_KEY": NEXT})
    assert (server.code, "was encrypted with another key" in server.err) == (1, True)
    assert copied.loopai("label", "mail", stdin="q", env={"LOOPAI_STORAGE__ENCRYPTION_KEY": KEY}).code == 0


def test_rotation_reaches_everything(copied: Life) -> None:
    old = {"LOOPAI_STORAGE__ENCRYPTION_KEY": NEXT, "LOOPAI_STORAGE__ENCRYPTION_KEY_BEFORE": KEY}
    config = json.loads(copied.layout.config_file.read_text())
    del config["storage"]["encryption_key_file"]
    copied.layout.config_file.write_text(json.dumps(config))
    ok(copied.loopai("prune", env=old))
    alone = {"LOOPAI_STORAGE__ENCRYPTION_KEY": NEXT}
    layout = copied.layout
    layout.vault = vault_of(Config.load(data_dir=layout.root, environ=alone).storage)
    encrypted = [path for path in files(copied) if is_encrypted(path.read_bytes()[:MAGIC_BYTES])]
    assert not any(layout.vault.is_old(path.read_bytes()[:92]) for path in encrypted)
    ok(copied.loopai("validate", "mail", env=alone), 0, 3)
    ok(copied.loopai("label", "mail", "--limit", "1", stdin="1", env=alone))


def test_one_person_is_erased_from_all_of_it(copied: Life) -> None:
    one = list(labels.read(copied.layout, "mail"))[0]  # noqa: RUF015  all of it, so that the file is closed
    secret = next(word for word in one.input["text"].split() if word in copied.secrets)
    done = ok(copied.loopai("logs", "erase", "--match", secret, "-o", "json"))
    assert done.json["records"]["labels"] >= 1
    for path in files(copied):
        assert secret.encode() not in text(copied, path), name(copied, path)
    assert ok(copied.loopai("validate", "mail"), 0, 3)


def test_a_server_killed_while_it_queues_loses_nothing_that_it_answered(copied: Life) -> None:
    mail, layout = Mail(7), copied.layout
    for _ in range(max(2, round(20 * SOAK))):
        before, told = len(queue.read(layout, "mail")), 0
        with serving(layout.root) as server:
            for _ in range(60):
                status, body = server.execute("mail", mail("crypto")[0]["text"])
                told += status == 200 and body.get("abstained", False)
            os.kill(server.process.pid, 9)
        assert len(queue.read(layout, "mail")) >= before + told
        queue.append(layout, "mail", [{"input": {"text": "after"}}])
        assert queue.read(layout, "mail")[-1] == {"input": {"text": "after"}}
