# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A report as a file on the controller."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

# A report is for everyone with access to the folder it is written to.
MODE = 0o644


def write(dest: Any, content: str) -> Path:
    """Put ``content`` in place of the file ``dest`` as a whole, and return its absolute path. Raises WishError."""
    if not isinstance(dest, str):
        raise WishError("dest", f"is {described(dest)}", "give the path of a file")
    file = _absolute(dest)
    try:
        if file.is_dir():
            raise WishError("dest", f"{file} is a directory", "name a file in it")
        _replace(file, content)
    except OSError as error:
        why = error.strerror or str(error)
        raise WishError("dest", f"{dest} cannot be written ({why})", "choose another place") from error
    except UnicodeError as error:
        raise _no_path(dest, str(error)) from error
    return file


def _absolute(dest: str) -> Path:
    if "\0" in dest:
        raise _no_path(dest, "it holds a null byte")
    try:
        return Path(dest).expanduser().absolute()
    except RuntimeError as error:  # an unknown home
        raise _no_path(dest, str(error)) from error


def _no_path(dest: str, why: str) -> WishError:
    return WishError("dest", f"{dest!r} is not a path ({why})", "choose another place")


def _replace(file: Path, content: str) -> None:
    # The umask is no help: what mkstemp makes is for its owner alone, and what a rename replaces is gone.
    handle, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(staged, MODE)
        os.replace(staged, file)
    except BaseException:
        os.unlink(staged)
        raise
