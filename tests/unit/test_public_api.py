"""`import loopai_runtime as loopai`: what it offers, and that offering costs nothing."""

from __future__ import annotations

import subprocess
import sys
import typing

import pytest

import loopai_runtime as loopai


def test_every_public_name_can_be_had() -> None:
    for name in loopai.__all__:
        assert getattr(loopai, name) is not None
    assert set(loopai._HOME) | {"__version__"} == set(loopai.__all__)


def test_type_checkers_see_the_same_names() -> None:
    source = typing.cast("str", loopai.__spec__.loader.get_source("loopai_runtime"))  # type: ignore[union-attr]
    block = source.split("if TYPE_CHECKING:")[1].split("_HOME")[0]
    seen = {
        name.strip()
        for line in block.splitlines()
        if "import" in line
        for name in line.split("import")[1].split(",")
    }
    assert seen == set(loopai._HOME)


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, loopai_runtime; print([m for m in ('pydantic', 'yaml', 'typer', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        loopai.nothing  # noqa: B018
