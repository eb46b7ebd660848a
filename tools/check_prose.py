#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Check Markdown and the roles' argument specs for lines over 120 characters and for phrases that readers stumble over.

Tables, lines that are a single word (an address) and what `make docs` writes may be longer. Exits with 1 and one line
per find.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PASSED_OVER = {".git", ".venv", ".cache", ".ansible", ".hypothesis", "collections"}
WIDTH = 120
GENERATED = re.compile(r"<!-- BEGIN_ANSIBLE_DOCS -->.*?<!-- END_ANSIBLE_DOCS -->", re.DOTALL)

# Word for word from another language; beside each what to write.
PHRASES = {
    r"belongs? into": "belongs in",
    r"for ever": "forever, indefinitely",
    r"what lacks": "what is missing",
    r"is none to keep": "cannot be kept",
    r"with leave|without leave|gives? leave": "with permission, allows",
    r"lies in code": "is in code",
    r"outside of": "outside",
    r"be it": "whether",
    r"has got new": "is newly",
}


def problems(text: str, is_markdown: bool) -> Iterator[tuple[int, str]]:
    """Yield the number of each line that breaks a rule, and what is wrong with it."""
    by_hand = GENERATED.sub(lambda part: "\n" * part.group().count("\n"), text)
    for number, line in enumerate(by_hand.splitlines(), start=1):
        if is_markdown and len(line) > WIDTH and not line.startswith("|") and " " in line.strip():
            yield number, f"has {len(line)} characters; wrap it at {WIDTH}"
        for phrase, better in PHRASES.items():
            found = re.search(rf"\b({phrase})\b", line, re.IGNORECASE)
            if found:
                yield number, f'"{found.group()}"; write: {better}'


def main() -> int:
    """Check all files; return the exit status."""
    files = [*ROOT.rglob("*.md"), *ROOT.glob("roles/*/meta/argument_specs.yml")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {problem}"
        for path in sorted(files)
        if PASSED_OVER.isdisjoint(path.relative_to(ROOT).parts)
        for number, problem in problems(path.read_text(encoding="utf-8"), path.suffix == ".md")
    ]
    print("\n".join(found) if found else "All pages are wrapped, and free of the phrases to avoid.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
