"""What the kernel is found to offer, against what it says of itself elsewhere."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from loopai_runtime.sandbox.features import features

linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the cage is built on Linux"
)
ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")
STATUS = Path("/proc/self/status")


def test_every_feature_is_found_or_says_what_stands_against_it() -> None:
    names = [feature.name for feature in features()]
    assert names == ["seccomp", "landlock", "no_new_privs"]
    assert all(bool(feature.found) != bool(feature.why) for feature in features())


@linux
def test_seccomp_is_found_as_the_kernel_lists_it() -> None:
    offered = "kill_process" in ACTIONS.read_text("ascii").split()
    assert bool(features()[0].found) is offered


@linux
def test_asking_changes_nothing_of_this_process() -> None:
    before = [line for line in STATUS.read_text().splitlines() if line.startswith(("NoNewPrivs", "Seccomp"))]
    features()
    assert before == [
        line for line in STATUS.read_text().splitlines() if line.startswith(("NoNewPrivs", "Seccomp"))
    ]


def test_elsewhere_than_on_linux_every_feature_is_missing() -> None:
    code = (
        "import sys; sys.platform = 'darwin'; from loopai_runtime.sandbox.features import features; "
        "assert not any(feature.found for feature in features()), features()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
