# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a benchmark on the controller: its document, and what is made of it for people."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..report import file
from . import markdown, page, table
from .document import LONGEST, Document, read
from .finish import finished


class Published(NamedTuple):
    """What was written, and the text for the terminal."""

    verdict: str
    files: list[str]
    text: str


def publish(
    output: str,
    samples: Sequence[Mapping[str, Any]],
    against: str | None,
    despite: bool,
    of_other: Sequence[Mapping[str, Any]] = (),
) -> Published:
    """Finish the document at ``output``.json and write it, a page and Markdown beside each other; see ``finished``.

    Raises WishError for files that cannot be read or written.
    """
    before = earlier(against) if against else None
    document = finished(_so_far(f"{output}.json"), samples, before, Path(against or "").name, despite, of_other)
    files = [
        file.write(f"{output}.json", written(document)),
        file.write(f"{output}.md", markdown.markdown(document)),
        file.write(f"{output}.html", page.page(document, before)),
    ]
    names = [each.as_uri() if each.suffix == ".html" else str(each) for each in files]
    return Published(document["verdict"], [str(each) for each in files], table.text(document, names))


def _so_far(path: str) -> dict[str, Any]:
    try:
        with Path(path).expanduser().open(encoding="utf-8") as stream:
            found: dict[str, Any] = json.load(stream)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not JSON"
        raise WishError("output", f"{path} cannot be read ({why})", "run the benchmark again") from error
    return found


def make_room(output: str) -> None:
    """Make the folder of the results. Raises WishError where they could not be written, which a run learns too late."""
    folder = Path(output).expanduser().absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        problem = f"{folder} cannot be written to ({error.strerror})"
        raise WishError("output", problem, "choose another place") from error


def written(document: Mapping[str, Any]) -> str:
    """Return a document as the text of its file."""
    return json.dumps(document, indent=1) + "\n"


def earlier(path: str) -> Document:
    """Return the document of an earlier run. Raises WishError if it cannot be read or is none."""
    try:
        with Path(path).expanduser().open(encoding="utf-8") as stream:
            text = stream.read(LONGEST + 1)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise WishError("against", f"{path} cannot be read ({why})", "give the JSON file of a run") from error
    return read(text)
