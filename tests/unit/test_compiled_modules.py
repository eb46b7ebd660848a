# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of a module's compiled files never stands in for another source."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest
from running import QUICK


@pytest.fixture
def said(tmp_path):
    """Return what a program in an archive prints, whose compiled files are kept in ``kept``."""
    (tmp_path / "kept").mkdir()
    environment = {"PYTHONPATH": QUICK, "COMPILED_MODULES": str(tmp_path / "kept")}

    def said(word: str, archive: str = "one.zip") -> str:
        with zipfile.ZipFile(tmp_path / archive, "w") as file:
            file.writestr("__main__.py", "import part\nprint(part.WORD)\n")
            file.writestr("part.py", f"WORD = {word!r}\n")
        command = [sys.executable, str(tmp_path / archive)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return said


def test_the_same_source_is_compiled_once_wherever_it_lies(said, tmp_path):
    assert said("first") == "first\n"
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert len(kept) == 2
    assert said("first", "two.zip") == "first\n"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()} == kept


def test_another_source_is_compiled_anew(said):
    assert said("first") == "first\n"
    assert said("other") == "other\n"


@pytest.mark.parametrize("broken", [b"", b"i\x01\x00\x00\x00", b"half"])
def test_a_file_that_is_not_the_code_is_compiled_over(said, tmp_path, broken):
    said("first")
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(broken)
    assert said("first") == "first\n"
    assert broken not in [path.read_bytes() for path in (tmp_path / "kept").iterdir()]
