"""Become the user nobody and run a module: `python as_nobody.py PLACE PYTHON SOURCE SITE MODULE...`, as root.

The interpreter, the libraries and the sources may lie where only root may look. They are then shown to nobody
under the folder PLACE, by mounts that only this process and its children see; nothing is copied. With PLACE `-`
they are used where they are.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NOBODY = 65534
_NEW_MOUNTS = 0x00020000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000


def _mount(source: str, target: str, flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).mount(source.encode(), target.encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: mount", target)


def show(place: Path, folders: dict[str, str]) -> dict[str, str]:
    """Mount each folder below `place`, for this process alone; answers where they are now."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())}: unshare")
    _mount("none", "/", _RECURSIVE | _PRIVATE)
    shown = {name: str(place / name) for name in folders}
    for name, folder in folders.items():
        _mount(folder, shown[name], _BIND | _RECURSIVE)
    return shown


def main(place: str, python: str, source: str, site: str, *command: str) -> None:
    folders = {"python": python, "source": source, "site": site}
    if place != "-":
        folders = show(Path(place), folders)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir("/")
    path = (folders["source"], folders["source"] + "/src", folders["site"])
    interpreter = f"{folders['python']}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {**os.environ, "PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1"}
    os.execve(interpreter, [interpreter, "-m", *command], environment)


if __name__ == "__main__":
    main(*sys.argv[1:])
