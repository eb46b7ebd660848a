# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The programs of module_utils that run by themselves, each as one file that Python runs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "module_utils"
LOAD, OPTIMIZER = "load", "optimizer"
# The names under which Python runs them.
NAMES = {LOAD: "tfserving_load", OPTIMIZER: "optimizer"}
# The earliest that a zip archive can name: the same sources make the same file.
MOMENT = (1980, 1, 1, 0, 0, 0)


def archive(program: str = LOAD) -> bytes:
    """Return the package of a program as a zip archive, which runs from ``PYTHONPATH``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((SOURCES / program).glob("*.py")):
            entry = zipfile.ZipInfo(f"{NAMES[program]}/{path.name}", MOMENT)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, path.read_bytes())
    return buffer.getvalue()
