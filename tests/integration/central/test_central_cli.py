"""`loopai central …` as its operators meet it: what it says, and where it refuses."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.central.conftest import running
from tests.integration.conftest import Loopai


def test_the_first_start_says_where_the_admins_key_is_and_later_ones_do_not(tmp_path: Path) -> None:
    said = f"the admin's key is in {tmp_path / 'data' / 'secrets' / 'admin.key'}".encode()
    for n in range(2):
        with running(tmp_path / "data") as platform:
            key = tmp_path / "data" / "secrets" / "admin.key"
            assert key.stat().st_mode & 0o777 == 0o600
            assert platform.call("GET", "/api/v1/keys")[0] == 200
        log = b"".join(platform.log)
        assert log.count(said) == (n == 0)
        assert platform.admin_key.encode() not in log


def test_an_address_that_others_can_reach_is_warned_of(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--host", "0.0.0.0") as platform:
        pass
    assert b"without --tls-cert keys and data cross the network as they are" in b"".join(platform.log)


def test_what_cannot_be_started_is_told_in_two_lines(tmp_path: Path) -> None:
    loopai = Loopai(tmp_path / "data")
    half = loopai("central", "start", "--tls-cert", "x.pem")
    assert (half.code, "belong together" in half.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = loopai("central", "start", "--port", taken.getsockname()[1])
    assert (busy.code, len(busy.err.splitlines()) <= 2) == (6, True), busy.err


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("postgresql+psycopg://loopai:hidden@127.0.0.1:1/none", 1, "the database does not answer"),
        ("postgresql+psycopg://loopai:hidden@127.0.0.1:port/none", 2, "is no URL of a database"),
        ("postgresql+nothing://loopai:hidden@127.0.0.1/none", 2, "is no URL of a database"),
        ("mysql://loopai:hidden@127.0.0.1/none", 2, "is no URL of a database"),
        ("hidden", 2, "is no URL of a database"),
    ],
)
def test_a_database_that_is_none_or_away_is_told_without_its_password(
    tmp_path: Path, url: str, code: int, said: str
) -> None:
    done = Loopai(tmp_path)("central", "start", "--port", "0", env={"LOOPAI_CENTRAL__DATABASE_URL": url})
    assert (done.code, said in done.err) == (code, True), done.err
    assert "hidden" not in done.err
    assert len(done.err.splitlines()) <= 3


@pytest.mark.parametrize("command", ["start", "backup", "restore"])
def test_without_the_extra_the_line_to_type_is_told(tmp_path: Path, command: str) -> None:
    code = (
        "import sys\nsys.modules['sqlalchemy'] = None\nfrom loopai_runtime.cli.main import run_line\n"
        f"sys.exit(run_line(['central', {command!r}, *sys.argv[1:], '--data-dir', {str(tmp_path)!r}]))"
    )
    arguments = [] if command == "start" else [str(tmp_path / "x.tar")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "pip install 'loopai-runtime[central]'" in done.stderr


def test_backup_and_restore_say_what_they_did_and_refuse_in_two_lines(tmp_path: Path) -> None:
    loopai, other = Loopai(tmp_path / "data"), Loopai(tmp_path / "other")
    none = loopai("central", "backup", tmp_path / "x.tar")
    assert (none.code, "no platform is in" in none.err) == (2, True), none.err
    with running(tmp_path / "data"):
        pass
    made = loopai("central", "backup", tmp_path)
    assert made.code == 0, made.err
    out = Path(made.out.strip())
    assert out.parent == tmp_path
    assert "0 bundles" in made.err
    again = loopai("central", "backup", out)
    assert (again.code, "is there already" in again.err) == (2, True)
    back = other("central", "restore", out)
    assert (back.code, "0 bundles" in back.err) == (0, True), back.err
    for n, where in enumerate((tmp_path / "none.tar", tmp_path / "data")):
        refused = Loopai(tmp_path / f"third-{n}")("central", "restore", where)
        assert refused.code == (5, 1)[n]
        assert len(refused.err.splitlines()) <= 2
