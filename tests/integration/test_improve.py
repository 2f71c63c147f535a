"""`loopai improve`: failures become a better version, and only a better one is kept."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.datasets import labels
from loopai_runtime.edge.improvement_metrics import ImprovementMetrics
from loopai_runtime.edge.ticket_pages import TicketPages
from loopai_runtime.errors import GateMissed
from loopai_runtime.files import make_dir
from loopai_runtime.flows.improvements import Improvement, Improvements
from loopai_runtime.flows.regression import replay_gold, require_gold
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus, utc_now
from loopai_runtime.tickets import Tickets

from .conftest import Done, Loopai, in_process
from .test_server import SPAM, add

ENUM = {"enum": ["spam", "ham"]}
FILL = ("a", "the", "we", "you", "please", "for", "with", "about", "our", "next", "this", "some", "day", "soon")


def mail(rng: random.Random, n: int, spam: str) -> tuple[dict[str, Any], str]:
    """Every other one is spam, and says so by a word."""
    word = spam if n % 2 else rng.choice(("lunch", "report", "thanks"))
    words = [*rng.sample(FILL, 4), word]
    rng.shuffle(words)
    return {"text": " ".join([*words, str(n)])}, "spam" if n % 2 else "ham"


class Task:
    """Mail that v1 knows by the word `win`; then spam says `crypto` instead."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.store = ArtifactStore(self.layout)

    def make(self, truth: Path) -> None:
        add(self.layout, "mail", SPAM, output_schema=ENUM)
        rng = random.Random(0)
        make_dir(self.layout.task("mail"))
        spec = {
            "name": "mail", "description": "Is the mail spam?", "output_schema": ENUM, "accuracy_target": 0.9,
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "oracle": {"kind": "labels", "file": str(truth)}, "generate": {"strategy": "ml"},
            "examples_from": [{"file": "where-it-was-made.jsonl"}],
        }  # fmt: skip
        self.layout.spec("mail").write_text(json.dumps(spec))
        rows = [mail(rng, n, "win") for n in range(60)]
        lines = [json.dumps({"input": value, "output": right}) + "\n" for value, right in rows]
        self.layout.examples("mail").write_text("".join(lines))

    def serve(self, rows: list[tuple[dict[str, Any], str]], truth: Path, version: int = 1) -> None:
        """Executions of v1, all of them sampled, and what is right."""
        day = utc_now()[:10]
        path = self.layout.executions("mail", day)
        make_dir(path.parent)
        with path.open("a") as file, truth.open("a") as known:
            for n, (value, right) in enumerate(rows):
                record = {
                    "schema": 1, "execution_id": f"{version}-{n}", "task_id": "mail", "version": version,
                    "input": value, "output": "spam" if "win" in value["text"] else "ham", "source": "program",
                    "status": "success", "latency_ms": 0.1, "timestamp": f"{day}T00:00:00Z", "sampled": True,
                    "pi": 0.2, "deployment_id": "edge-1",
                }  # fmt: skip
                file.write(json.dumps(record) + "\n")
                known.write(json.dumps({"input": value, "output": right}) + "\n")

    def __call__(self, *args: object, **env: str) -> Done:
        """A command, in this process."""
        return in_process(self.layout.root, *args, **env)

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = [
            line for path in sorted(self.layout.audit.glob("*.jsonl")) for line in path.read_text().splitlines()
        ]
        return [line for line in map(json.loads, lines) if line["kind"] == kind]

    def files(self) -> set[str]:
        kept = ("artifacts", "tasks", "datasets", "improvements", "tickets", "audit")
        root = self.layout.root
        return {
            str(path.relative_to(root))
            for name in kept
            for path in (root / name).rglob("*")
            if path.is_file() and "analytics" not in path.parts
        }


def copy_of(task: Task, root: Path) -> Task:
    shutil.copytree(task.layout.root, root, symlinks=True)
    return Task(root)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """v1 serves, 120 of its executions were checked, and it gets half of them wrong."""
    root = tmp_path_factory.mktemp("failing")
    task, truth = Task(root / "data"), root / "truth.jsonl"
    task.make(truth)
    rng = random.Random(1)
    task.serve([mail(rng, n, "crypto") for n in range(1000, 1120)], truth)
    done = task("validate", "mail")
    assert done.code == 0, done.err
    return task


@pytest.fixture(scope="module")
def improved(failing: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Done]:
    """The same after `improve`."""
    task = copy_of(failing, tmp_path_factory.mktemp("improved") / "data")
    return task, task("improve", "mail", "-o", "json")


def test_a_better_version_is_kept_and_does_not_serve_by_itself(improved: tuple[Task, Done]) -> None:
    task, done = improved
    assert done.code == 0, done.err
    assert (done.json["state"], done.json["version"], done.json["base"]) == ("made", 2, 1)
    assert task.store.active_version("mail") == 1
    assert [one.status for one in task.store.versions("mail")][-1] is VersionStatus.VALIDATED
    assert done.json["regression"]["gain"]["fixed"] > 40
    assert "`crypto`, which no example has" in done.json["hypothesis"]
    answer = task("run", "mail@2", '{"text": "please crypto soon"}')
    assert answer.out.strip() == '"spam"'


def test_what_the_oracle_said_becomes_labels_of_failures_and_successes(improved: tuple[Task, Done]) -> None:
    task, done = improved
    found = list(labels.read(task.layout, "mail"))
    assert {one.source for one in found} == {"oracle"}
    assert len(found) == done.json["labels"] == 120
    assert {one.output for one in found if "crypto" in one.input["text"]} == {"spam"}
    assert {one.output for one in found if "crypto" not in one.input["text"]} == {"ham"}


def test_every_attempt_is_announced(improved: tuple[Task, Done]) -> None:
    task, done = improved
    (began,), (ended,) = task.events("improvement.started"), task.events("improvement.finished")
    assert (began["failed"], began["checked"], began["patterns"]) == (60, 120, 1)
    assert (ended["state"], ended["version"], ended["improvement_id"]) == ("made", 2, done.json["id"])


def test_while_its_version_waits_to_be_tried_nothing_more_is_made(
    improved: tuple[Task, Done], tmp_path: Path
) -> None:
    task = copy_of(improved[0], tmp_path / "data")
    again = task("improve", "mail", "-o", "json")
    assert (again.code, again.json["state"], again.json["version"]) == (0, "waiting", 2)
    assert len(task.store.versions("mail")) == 2


def test_a_version_that_was_rolled_back_counts_as_a_failure(improved: tuple[Task, Done], tmp_path: Path) -> None:
    task = copy_of(improved[0], tmp_path / "data")
    history = Improvements(task.layout, "mail")
    assert history.pending() is not None
    assert history.note(2, "rolled_back", "it was worse")
    assert history.pending() is None
    assert [one.state for one in history.all()] == ["rolled_back"]
    assert not history.note(2, "rolled_back", "it was worse")


def test_after_an_attempt_the_next_one_waits(improved: tuple[Task, Done], tmp_path: Path) -> None:
    task = copy_of(improved[0], tmp_path / "data")
    Improvements(task.layout, "mail").note(2, "rolled_back", "it was worse")
    cooling = task("improve", "mail", "-o", "json")
    assert (cooling.code, cooling.json["state"]) == (0, "idle")
    assert "improvement.cooldown_hours" in cooling.json["reason"]
    nothing_new = task("improve", "mail", "-o", "json", LOOPAI_IMPROVEMENT__COOLDOWN_HOURS="0")
    assert nothing_new.json["reason"] == "nothing was checked since it was last tried"
    enough = task("improve", "mail", "-o", "json", LOOPAI_IMPROVEMENT__MAX_PER_DAY="1")
    assert "improvement.max_per_day" in enough.json["reason"]


def test_a_dry_run_says_the_same_and_keeps_nothing(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    before = task.files()
    done = task("improve", "mail", "--dry-run")
    assert done.code == 0, done.err
    assert task.files() == before
    assert "made: it would be kept (nothing was kept)" in done.err
    assert '"ham" instead of "spam"' in done.out


def test_without_a_check_there_is_nothing_to_judge_on(tmp_path: Path) -> None:
    task = Task(tmp_path / "data")
    task.make(tmp_path / "truth.jsonl")
    done = task("improve", "mail")
    assert done.code == 3
    assert "no execution of v1 was checked" in done.err
    assert "loopai validate mail" in done.err
    assert task("improve", "nothing").code == 5


def test_a_few_failures_show_nothing(tmp_path: Path) -> None:
    task, truth = Task(tmp_path / "data"), tmp_path / "truth.jsonl"
    task.make(truth)
    rng = random.Random(1)
    task.serve([mail(rng, n, "crypto" if n < 1004 else "win") for n in range(1000, 1012)], truth)
    assert task("validate", "mail").code == 0
    done = task("improve", "mail", "-o", "json")
    assert (done.code, done.json["state"], done.json["evidence"]["failed"]) == (0, "idle", 2)
    assert "not shown to miss 90.0%" in done.json["reason"]
    assert not task.events("improvement.started")


@pytest.mark.parametrize("most", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_attempts_in_a_row_that_came_to_nothing_open_a_ticket_and_the_loop_waits(
    tmp_path: Path, most: int
) -> None:
    task, truth = Task(tmp_path / "data"), tmp_path / "truth.jsonl"
    task.make(truth)
    rng = random.Random(2)  # an oracle that nobody can learn from
    rows = [mail(rng, 2 * n, "") for n in range(500, 580)]
    task.serve([(value, rng.choice(("spam", "ham"))) for value, _ in rows], truth)
    assert task("validate", "mail").code == 0
    limit = {"LOOPAI_IMPROVEMENT__MAX_FAILED": str(most)}
    for n in range(most):
        assert not Tickets(task.layout).list()
        done = task("improve", "mail", "-o", "json", "--force", **limit)
        assert (n, done.code) == (n, 3)
        assert done.json["state"] in ("refused", "missed")  # of guesses some come out well, below the target
    (ticket,) = Tickets(task.layout).list("mail", "open")
    assert len(ticket.body["tried"]) == most
    assert ticket.body["patterns"]
    assert [event["ticket_id"] for event in task.events("ticket.opened")] == [ticket.id]
    assert len(task.events("improvement.refused") + task.events("improvement.finished")) == most
    waits = task("improve", "mail", "-o", "json")
    assert (waits.code, waits.json["state"], waits.json["ticket_id"]) == (3, "waiting", ticket.id)

    shown = task("tickets", "show", ticket.id[:8])
    assert f"came to nothing, {most} times in a row" in shown.out
    assert task("tickets").out.count(ticket.id[:8]) == 1
    spec = json.loads(task.layout.spec("mail").read_text()) | {"description": "Is it spam, and do I want it?"}
    task.layout.spec("mail").write_text(json.dumps(spec))
    resumed = task("improve", "mail", "-o", "json", LOOPAI_IMPROVEMENT__MAX_PER_DAY="0")
    assert "improvement.max_per_day" in resumed.json["reason"]
    assert Tickets(task.layout).show(ticket.id).resolution == "the specification was changed"
    assert len(task.events("ticket.resolved")) == 1


def test_a_version_from_elsewhere_is_put_to_this_machines_own_gold(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    add(task.layout, "mail", "def run(x):\n    return 'spam'\n", activate=False, output_schema=ENUM)
    both = "def run(x):\n    return 'spam' if 'win' in x['text'] or 'crypto' in x['text'] else 'ham'\n"
    add(task.layout, "mail", both, activate=False, output_schema=ENUM)
    worse, better = (replay_gold(task.layout, Config(), f"mail@{version}") for version in (2, 3))
    assert (worse.replayed, len(worse.flips)) == (180, 90)  # all that is ham
    assert worse.refused is not None
    assert (better.gain.fixed, better.flips, better.refused) == (60, [], None)
    with pytest.raises(GateMissed, match="mail@2 is refused here"):
        require_gold(task.layout, Config(), "mail@2")
    require_gold(task.layout, Config(), "mail@3")


def test_what_a_person_has_labelled_must_stay_right_whatever_is_gained(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    labels.append(task.layout, "mail", [labels.label({"text": "crypto is what we work on"}, "ham", "person")])
    both = "def run(x):\n    return 'spam' if 'win' in x['text'] or 'crypto' in x['text'] else 'ham'\n"
    add(task.layout, "mail", both, activate=False, output_schema=ENUM)
    found = replay_gold(task.layout, Config(), "mail@2")
    assert [flip.source for flip in found.flips] == ["person"]
    assert "a person has labelled" in str(found.refused)


def test_what_improving_quotes_can_be_erased(improved: tuple[Task, Done], tmp_path: Path) -> None:
    task = copy_of(improved[0], tmp_path / "data")
    (made,) = Improvements(task.layout, "mail").all()
    Tickets(task.layout).open("mail", "help", {"patterns": made.patterns, "hypothesis": made.hypothesis})
    text = made.patterns[0]["examples"][0]["input"]["text"]
    path = task.layout.improvements("mail")
    assert text in path.read_text()
    found = task("logs", "erase", "--match", f"text={text}", "--yes", "-o", "json")
    assert found.code == 0, found.err
    for each in (path, *Tickets(task.layout).paths("mail")):
        left = each.read_text()
        assert text not in left
        assert "crypto`" not in left
    assert [one.id for one in Improvements(task.layout, "mail").all()] == [made.id]


def test_metrics_count_attempts_and_tickets(improved: tuple[Task, Done]) -> None:
    task = improved[0]
    metrics = ImprovementMetrics(task.layout)
    for _ in range(2):  # looking again counts nothing again
        found = {
            sample.name: (sample.labels, sample.value) for family in metrics.collect() for sample in family.samples
        }
        counted = ({"task_id": "mail", "state": "made"}, 1)
        assert found["loopai_program_improvements_total"] == counted


def test_tickets_are_there_over_http(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    ticket, _ = Tickets(task.layout).open("mail", "it is hard", {"tried": []})
    pages = Starlette(routes=TicketPages(task.layout, Config()).routes())
    with TestClient(pages) as client:
        (listed,) = client.get("/api/v1/tickets?status=open&task_id=mail").json()["tickets"]
        assert listed == ticket.as_dict(whole=False)
        assert client.get(f"/api/v1/tickets/{ticket.id}").json()["body"] == {"tried": []}
        assert client.get("/api/v1/tickets/nothing").status_code == 404
        assert client.get("/api/v1/tickets?status=new").status_code == 400
        at = f"/api/v1/tickets/{ticket.id}/resolve"
        assert client.post(at, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
        assert client.post(at, json={"note": "a label was wrong"}).json()["status"] == "resolved"
        assert client.get("/api/v1/tickets?status=open").json()["tickets"] == []
    assert len(task.events("ticket.resolved")) == 1


def test_what_a_killed_attempt_left_is_ended_as_it_would_have_been(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    history = Improvements(task.layout, "mail")
    stored = task.store.read("mail@1").artifact
    history.save(Improvement("mail", 1, artifact_id="never stored"))
    history.save(Improvement("mail", 1, artifact_id=stored.id))
    history.mend()
    assert [(one.state, one.version) for one in history.all()] == [("interrupted", None), ("made", 1)]


@pytest.mark.slow
def test_killed_in_the_middle_the_next_run_does_it(failing: Task, tmp_path: Path) -> None:
    task = copy_of(failing, tmp_path / "data")
    loopai = Loopai(task.layout.root)
    process = loopai.start("improve", "mail")
    deadline = time.monotonic() + 120
    while not task.events("improvement.started"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = loopai("improve", "mail", "-o", "json")
    assert done.code == 0, done.err
    assert done.json["state"] in ("made", "waiting")  # killed after the last write, its version waits
    assert [one.status for one in task.store.versions("mail")] == [VersionStatus.ACTIVE, VersionStatus.VALIDATED]
