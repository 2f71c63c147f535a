"""Every attack on the operating-system wall: it works without the wall, and the wall stops it.

An attack counts only where its control works. Each is made as the user who runs the tests, and as nobody.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import RestrictedPython
from tests.security.front import SECRET, Ended
from tests.security.os_attacks import ATTACKS, FAMILIES
from tests.security.os_attacks.attack import PRELUDE

from loopai_runtime.errors import PolicyRefused
from loopai_runtime.sandbox.pool import SyncPool, run_program

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the cage is built on Linux"
)
ENOUGH = 45
USERS = ("us", "nobody")
SOURCE = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
_SECONDS = 600


needs_cage = pytest.mark.skipif(sys.platform != "linux", reason="the operating-system cage is Linux's")


def command(user: str, place: str, *words: str) -> list[str]:
    """How to run a module as a user."""
    if user == "us":
        return [sys.executable, "-m", *words]
    site = Path(RestrictedPython.__file__).resolve().parents[1]
    return [sys.executable, str(HERE / "as_nobody.py"), place, sys.base_prefix, str(SOURCE), str(site), *words]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(SOURCE), str(SOURCE / "src")])
    return {"PATH": os.defpath, "PYTHONPATH": path, SECRET: secrets.token_hex(16)}


class Fronts:
    """One front for each user and mode; all are started at once, and what each tells is read when it is asked for."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.why_not_nobody = self._place_for_nobody()
        self._ended: dict[tuple[str, str], dict[str, Ended]] = {}
        users = USERS[:1] if self.why_not_nobody else USERS
        modes = ("control", "cage") if sys.platform == "linux" else ("control",)
        self._running = {(user, mode): self._start(user, mode) for user in users for mode in modes}

    def ended(self, user: str, mode: str) -> dict[str, Ended]:
        if user == "nobody" and self.why_not_nobody:
            pytest.skip(self.why_not_nobody)
        if (user, mode) not in self._ended:
            process = self._running[user, mode]
            out, err = process.communicate(timeout=_SECONDS)
            assert process.returncode == 0, err
            told = [Ended(**json.loads(line)) for line in out.splitlines()]
            self._ended[user, mode] = {ended.name: ended for ended in told}
        return self._ended[user, mode]

    def close(self) -> None:
        """Let those end that nobody asked for: a front tidies up after itself."""
        for process in self._running.values():
            if process.stdout and not process.stdout.closed:
                process.communicate(timeout=_SECONDS)

    def run(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        if user == "nobody" and self.why_not_nobody:
            pytest.skip(self.why_not_nobody)
        return self._try(user, self.place, *words)

    def _try(self, user: str, place: str, *words: str) -> subprocess.CompletedProcess[str]:
        line = command(user, place, *words)
        return subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=_SECONDS)

    def _start(self, user: str, mode: str) -> subprocess.Popen[str]:
        line = command(user, self.place, "tests.security.front", mode)
        return subprocess.Popen(
            line,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def _place_for_nobody(self) -> str:
        """Find how nobody can run the tests: with everything where it is, or mounted. '' or why neither works."""
        if os.geteuid() != 0:
            return "only root can become nobody"
        said = ""
        for place in ("-", self.place):
            tried = self._try("nobody", place, "tests.security.front", "control", "reads_the_password_file")
            if tried.returncode == 0:
                self.place = place
                return ""
            said = (tried.stderr.strip().splitlines() or ["?"])[-1]
        return f"nobody cannot run the interpreter and the sources: {said}"


@pytest.fixture(scope="module")
def fronts() -> Iterator[Fronts]:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        for name in ("python", "source", "site"):
            (Path(place) / name).mkdir()
        started = Fronts(place)
        yield started
        started.close()


def _attacks() -> list[object]:
    return [
        pytest.param(user, name, id=f"{user}-{attack.family}-{name}")
        for user in USERS
        for name, attack in ATTACKS.items()
        if user != "nobody" or not attack.needs_root
    ]


@pytest.mark.parametrize(("user", "name"), _attacks())
def test_without_the_wall_it_works(fronts: Fronts, user: str, name: str) -> None:
    ended = fronts.ended(user, "control")[name]
    if not ended.worked:
        pytest.skip(f"does not count here: {ended.detail}")


@needs_cage
@pytest.mark.parametrize(("user", "name"), _attacks())
def test_the_cage_stops_it(fronts: Fronts, user: str, name: str) -> None:
    control = fronts.ended(user, "control")[name]
    ended = fronts.ended(user, "cage")[name]
    assert not ended.worked, f"it did what it must not: {ended.detail}"
    if not control.worked:
        pytest.skip(f"does not count here: without the wall, too, {control.detail}")
    assert ended.stopped, f"nothing that is a wall stopped it: {ended.detail}"


@pytest.mark.parametrize("user", USERS)
def test_enough_attacks_of_every_family_work_without_the_wall(fronts: Fronts, user: str) -> None:
    worked = [name for name, ended in fronts.ended(user, "control").items() if ended.worked]
    assert len(worked) >= ENOUGH
    assert {ATTACKS[name].family for name in worked} == set(FAMILIES)


@needs_cage
def test_the_policy_alone_lets_none_of_them_in() -> None:
    def let_in(source: str) -> bool:
        try:
            pool.check(source)
        except PolicyRefused:
            return False
        return True

    with SyncPool(workers=0, wall="policy") as pool:
        assert [name for name, attack in ATTACKS.items() if let_in(attack.source)] == []


def test_what_attacks_have_at_hand_is_not_what_stops_them() -> None:
    source = (
        f"{PRELUDE}\n\ndef run(input_data):\n    text = ctypes.create_string_buffer(b'four')\n"
        "    return libc().strlen(text), address(text) > 0, bool(libc().syscall), sorted(os.environ) != [1]\n"
    )
    outcome = run_program(source, None, wall="cage")
    assert outcome.output == [4, True, True, True], outcome.error


@needs_cage
def test_an_honest_program_runs_behind_the_cage() -> None:
    source = "def run(input_data):\n    return sum(range(input_data)), len('x' * 10**7)\n"
    assert run_program(source, 10**5, wall="cage").output == [4999950000, 10**7]


# -- the limits, which stand without the cage ------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_limits_alone_keep_the_disk_empty(fronts: Fronts, user: str) -> None:
    assert fronts.run(user, "tests.security.limited", "none", "fill").stdout == "filled 4096\n"
    assert fronts.run(user, "tests.security.limited", "limits", "fill").stdout == "EFBIG\n"


def test_limits_alone_end_a_fork_bomb_of_an_ordinary_user(fronts: Fronts) -> None:
    assert fronts.run("nobody", "tests.security.limited", "none", "fork").stdout == "forked 20\n"
    assert fronts.run("nobody", "tests.security.limited", "limits", "fork").stdout == "EAGAIN\n"


@pytest.mark.parametrize("user", USERS)
def test_limits_alone_cannot_be_raised_again(fronts: Fronts, user: str) -> None:
    if user == "us" and os.geteuid() == 0:
        pytest.skip("root may raise limits until the cage takes that from it")
    assert fronts.run(user, "tests.security.limited", "none", "raise").stdout == "raised\n"
    assert fronts.run(user, "tests.security.limited", "limits", "raise").stdout == "refused\n"
