# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a tuning on the controller: the inventory file to review, the document, a page and Markdown."""

from __future__ import annotations

from pathlib import Path

from ..benchmark import markdown, page, table
from ..benchmark.document import Tune
from ..benchmark.publish import Published, written
from ..report import file


def publish(output: str, document: Tune) -> Published:
    """Write the files beside each other; without a change to recommend there is no inventory file."""
    base = Path(output).expanduser()
    files = [
        file.write(f"{output}.json", written(document)),
        file.write(f"{output}.md", markdown.markdown(document)),
        file.write(f"{output}.html", page.page(document)),
    ]
    if document.get("inventory"):
        files.insert(0, file.write(f"{output}.yml", document["inventory"] or ""))
    # The search is over, so nothing is left to go on with.
    base.with_name(f"{base.name}.journal").unlink(missing_ok=True)
    names = [each.as_uri() if each.suffix == ".html" else str(each) for each in files]
    verdict = "tuned" if document.get("inventory") else "unchanged"
    return Published(verdict, [str(each) for each in files], table.text(document, names))
