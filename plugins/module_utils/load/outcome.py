# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a stage, each replaced as a whole: whoever reads them never meets half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


def write_status(out: Path, status: Mapping[str, Any]) -> None:
    """Write ``status.json``."""
    with _replaced(out / "status.json") as file:
        json.dump(status, file)


def write_result(out: Path, result: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``result.json``, with the rows as its ``seconds``: one at a time, since together they are large."""
    head = json.dumps(result, indent=1)
    with _replaced(out / "result.json") as file:
        file.write(head[: head.rindex("}")].rstrip() + ',\n "seconds": [')
        for number, row in enumerate(rows):
            file.write((",\n  " if number else "\n  ") + json.dumps(row))
        file.write("\n ]\n}\n")


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        yield file
    os.replace(new, path)
