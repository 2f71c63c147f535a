"""kill -9 before every single call that changes the data directory, and what the next command finds.

A driver process forks a child for each n: the child works on a copy of the data directory and is killed in
front of its n-th call (open for writing, write, pwrite, fsync, mkdir, rename, replace, link, symlink, unlink, rmdir)
that touches it. So every state that a crash can leave behind is visited, in order, until the work completes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.bars import TIMED

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.files import TEMPORARY
from loopai_runtime.layout import Layout
from loopai_runtime.models import Complexity, ProgramArtifact, SynthesisStrategy, VersionStatus

from .conftest import Loopai

TASK = "tiny"
CODE = "def run(input_data):\n    return 'good'\n"
FIELDS = {
    "id": "3f0c8f6e-43a4-4b12-9f4e-1f2f3c7b8a90",
    "task_id": TASK,
    "version": 1,
    "synthesis_strategy": SynthesisStrategy.RULE,
    "learner": "keywords",
    "confidence_score": 0.9,
    "confidence_kind": "accuracy_bound",
    "accuracy_target": 0.9,
    "latency_target_ms": 10,
    "timeout_ms": 1000,
    "memory_mb": 256,
    "input_schema": {},
    "output_schema": {},
    "complexity_metrics": Complexity(lines=1, branches=1, features=1, bytes=1),
    "created_at": "2026-11-22T10:00:00Z",
}

STRIDE = 1 if TIMED else 3
"""`generate` has many calls, and each visit runs it again."""

DRIVER = r"""
import builtins, io, os, shutil, signal, sys, traceback

base, work, preload, action, stride = sys.argv[1:6]
exec(preload)

def kill_before(n, data_dir):
    '''Count the calls that change something below data_dir; die in front of the n-th.'''
    seen = 0

    def below(argument):
        if isinstance(argument, int) and not isinstance(argument, bool):
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return False
        try:
            return os.path.abspath(os.fspath(argument)).startswith(data_dir + "/")
        except TypeError:
            return False

    def counted(call, changes):
        def wrapper(*args, **options):
            nonlocal seen
            if changes(args, options) and any(map(below, args[:2])):
                seen += 1
                if seen == n:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)
        return wrapper

    always = lambda args, options: True
    for name in "write pwrite fsync fdatasync mkdir rename replace link symlink unlink remove rmdir ftruncate".split():
        setattr(os, name, counted(getattr(os, name), always))
    flags = lambda args, options: (args[1] if len(args) > 1 else options["flags"]) & (os.O_WRONLY | os.O_RDWR)
    os.open = counted(os.open, flags)
    mode = lambda args, options: set(args[1] if len(args) > 1 else options.get("mode", "r")) & set("wax+")
    io.open = builtins.open = counted(io.open, mode)

n = 1 - int(stride)
while True:
    n += int(stride)
    data_dir = os.path.join(work, str(n))
    shutil.copytree(base, data_dir, symlinks=True)
    child = os.fork()
    if child == 0:
        kill_before(n, data_dir)
        code = 99
        try:
            space = {"data_dir": data_dir}
            exec(action, space)
            code = space.get("code", 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


def visits(tmp_path: Path, base: Path, preload: str, action: str, stride: int = 1) -> Iterator[Path]:
    """The data directory after a kill before each of the calls, or every `stride`-th, in order; the last one is the
    completed work."""
    work = tmp_path / "visits"
    work.mkdir()
    command = [sys.executable, "-c", DRIVER, str(base), str(work), preload, action, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = sorted(work.iterdir(), key=lambda path: int(path.name))
    assert len(found) > 3, "the driver saw hardly any call, so it tested nothing"
    yield from found
    shutil.rmtree(work)


def store_of(data_dir: Path) -> ArtifactStore:
    return ArtifactStore(Layout(data_dir))


def artifact() -> ProgramArtifact:
    return ProgramArtifact.model_validate(FIELDS)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A data directory in which v1 has served and v2 serves."""
    base = tmp_path / "base"
    store = store_of(base)
    store.add(artifact(), CODE, VersionStatus.ACTIVE)
    store.add(artifact(), CODE + "# two\n", VersionStatus.VALIDATED)
    store.activate(TASK, 2)
    return base


PRELOAD = (
    "import loopai_runtime.artifacts.store, loopai_runtime.artifacts.archive, loopai_runtime.layout, filelock"
)
ON_STORE = f"""
from pathlib import Path
from loopai_runtime.artifacts import archive
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import ProgramArtifact, VersionStatus
layout = Layout(data_dir)
store = ArtifactStore(layout)
fields = {json.dumps(FIELDS | {"complexity_metrics": {"lines": 1, "branches": 1, "features": 1, "bytes": 1}})}
artifact = ProgramArtifact.model_validate(fields)
with layout.lock("{TASK}", 0):
    """


def check_whole(data_dir: Path) -> dict[int, VersionStatus]:
    """Whatever is visible is whole: nothing damaged, and what serves is one of the versions and runs."""
    store = store_of(data_dir)
    versions = store.versions(TASK)
    assert [listed.version for listed in versions if listed.damage] == []
    active = store.active_version(TASK)
    serving = [listed.version for listed in versions if listed.status is VersionStatus.ACTIVE]
    assert serving == ([] if active is None else [active])
    if active is not None:
        namespace: dict[str, object] = {}
        exec(store.read(TASK).code, namespace)
        assert namespace["run"]({}) == "good"  # type: ignore[operator]
    return {listed.version: listed.status for listed in versions}


def check_next_write(data_dir: Path) -> None:
    """The next command finds its way: it stores a version under the next number and leaves no leftovers."""
    store = store_of(data_dir)
    before = max((listed.version for listed in store.versions(TASK)), default=0)
    with store.layout.lock(TASK):
        made = store.add(artifact(), CODE, VersionStatus.DRAFT)
    assert made.version == before + 1
    here = store.layout.artifacts(TASK)
    assert [entry.name for entry in here.iterdir() if entry.name.startswith(TEMPORARY)] == []
    active = store.active_version(TASK)
    link = store.layout.active_link(TASK)
    assert (str(link.readlink()) if link.is_symlink() else None) == (None if active is None else f"v{active}")
    listed = json.loads(store.layout.state(TASK).read_text())["versions"]
    assert {f"v{number}" for number in listed} == {e.name for e in here.iterdir() if e.name[0] == "v"}


ACTIVE, DEPRECATED = VersionStatus.ACTIVE, VersionStatus.DEPRECATED
DRAFT, VALIDATED = VersionStatus.DRAFT, VersionStatus.VALIDATED


def test_add_is_all_or_nothing_and_what_served_still_serves(served: Path, tmp_path: Path) -> None:
    action = ON_STORE + f"store.add(artifact, {CODE!r}, VersionStatus.VALIDATED)"
    seen = set()
    for data_dir in visits(tmp_path, served, PRELOAD, action):
        statuses = check_whole(data_dir)
        assert statuses.pop(1) is DEPRECATED
        assert statuses.pop(2) is ACTIVE
        seen.add(statuses.get(3))
        check_next_write(data_dir)
    # Nothing yet; there but not listed, which counts as a draft; complete.
    assert seen == {None, DRAFT, VALIDATED}


def test_the_first_version_serves_or_nothing_does(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    action = ON_STORE + f"store.add(artifact, {CODE!r}, VersionStatus.ACTIVE)"
    seen = set()
    for data_dir in visits(tmp_path, base, PRELOAD, action):
        seen.add(tuple(check_whole(data_dir).items()))
        check_next_write(data_dir)
    assert seen == {(), ((1, DRAFT),), ((1, ACTIVE),)}


@pytest.mark.parametrize("switch", [f"store.activate({TASK!r}, 1)", f"store.rollback({TASK!r})"])
def test_a_switch_happens_wholly_or_not_at_all(served: Path, tmp_path: Path, switch: str) -> None:
    seen = set()
    for data_dir in visits(tmp_path, served, PRELOAD, ON_STORE + switch):
        seen.add(tuple(check_whole(data_dir).items()))
        check_next_write(data_dir)
    assert seen == {((1, DEPRECATED), (2, ACTIVE)), ((1, ACTIVE), (2, DEPRECATED))}


def test_an_import_is_all_or_nothing(served: Path, tmp_path: Path) -> None:
    from loopai_runtime.artifacts import archive, bundle

    path = tmp_path / "b.zip"
    path.write_bytes(archive.write_zip(bundle.build(artifact(), CODE + "# foreign\n")))
    action = ON_STORE + f"store.import_bundle(archive.read({str(path)!r}), VersionStatus.VALIDATED)"
    seen = set()
    for data_dir in visits(tmp_path, served, PRELOAD, action):
        seen.add(check_whole(data_dir).get(3))
        check_next_write(data_dir)
    assert seen == {None, DRAFT, VALIDATED}


def test_a_kill_while_the_leftovers_of_another_are_cleared(served: Path, tmp_path: Path) -> None:
    place = Layout(served).artifacts(TASK)
    # What a kill after the rename of v3 leaves, with other leftovers and a symlink that lags behind.
    store_of(served).add(artifact(), CODE, VersionStatus.DRAFT)
    state = json.loads((place / "state.json").read_text())
    del state["versions"]["3"]
    (place / "state.json").write_text(json.dumps(state))
    (place / f"{TEMPORARY}v4-1-aa").mkdir()
    (place / f"{TEMPORARY}v4-1-aa" / "program.py").write_text("def")
    (place / f"{TEMPORARY}state.json-1-aa").write_text("{")
    (place / "active").unlink()
    (place / "active").symlink_to("v1")
    action = ON_STORE + f"store.add(artifact, {CODE!r}, VersionStatus.VALIDATED)"
    for data_dir in visits(tmp_path, served, PRELOAD, action):
        statuses = check_whole(data_dir)
        assert (statuses[2], statuses[3]) == (ACTIVE, DRAFT)
        check_next_write(data_dir)


GENERATE_PRELOAD = "import loopai_runtime.cli.main, loopai_runtime.flows.generate, filelock, concurrent.futures"


def generate_action(spec: Path, source: str) -> str:
    return f"""
import os, sys
os.environ["LOOPAI_DATA_DIR"] = data_dir
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from loopai_runtime.cli.main import main
sys.argv = ["loopai", "generate", {str(spec)!r}, "--strategy", "rule"{source}]
try:
    main()
except SystemExit as exc:
    code = exc.code
"""


@pytest.mark.slow
def test_generate_killed_anywhere_leaves_the_old_version_serving(
    loopai: Loopai, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = write_spec()
    made = loopai("generate", spec, "--strategy", "rule")
    assert made.code == 0, made.err
    value = '{"text": "great lovely lamp"}'
    answer = loopai("run", TASK, value, "--no-record").out
    seen = set()
    for data_dir in visits(
        tmp_path, loopai.data_dir, GENERATE_PRELOAD, generate_action(spec, ', "--seed", "1"'), STRIDE
    ):
        check_generated(data_dir)
        after = Loopai(data_dir)
        store = store_of(data_dir)
        assert store.active_version(TASK) == 1
        assert [listed.version for listed in store.versions(TASK) if listed.damage] == []
        seen.add(tuple(listed.status for listed in store.versions(TASK)))
        done = after("run", TASK, value, "--no-record")
        assert (done.code, done.out) == (0, answer), done.err
        check_next_write(data_dir)
    assert seen == {(ACTIVE,), (ACTIVE, DRAFT), (ACTIVE, VALIDATED)}


@pytest.mark.slow
def test_the_first_generate_killed_anywhere_can_be_run_again(
    loopai: Loopai, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = write_spec()
    loopai.data_dir.mkdir()
    for data_dir in visits(tmp_path, loopai.data_dir, GENERATE_PRELOAD, generate_action(spec, ""), STRIDE):
        check_generated(data_dir)
        done = Loopai(data_dir)("generate", spec, "--strategy", "rule")
        assert done.code == 0, done.err
        store = store_of(data_dir)
        assert [listed.version for listed in store.versions(TASK) if listed.damage] == []
        assert leftovers_of_task(data_dir) == []


def check_generated(data_dir: Path) -> None:
    """The task's own files are whole or not there."""
    here = Layout(data_dir).task(TASK)
    examples = here / "examples.jsonl"
    if examples.exists():
        assert [set(json.loads(line)) >= {"input", "output"} for line in examples.open()] == [True] * 16
    if (here / "spec.yaml").exists():
        assert "praise or complaint" in (here / "spec.yaml").read_text()


def leftovers_of_task(data_dir: Path) -> list[str]:
    """Temporary files where the task's lock is held; `secrets` and `config` have no lock to sweep under."""
    places = (Layout(data_dir).task(TASK), Layout(data_dir).artifacts(TASK))
    return [str(path) for place in places for path in place.rglob(f"{TEMPORARY}*")]
