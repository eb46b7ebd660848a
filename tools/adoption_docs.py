#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/adoption-findings.md from the table of findings::

make docs                    # rewrites it
tools/adoption_docs.py --check  # says if it is out of date, by exit status 1; part of `make lint`
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import reference  # noqa: E402

PAGE = Path("docs/adoption-findings.md")


def is_stale(root: Path) -> bool:
    """Tell whether the page is not what the table makes of it."""
    path = root / PAGE
    return not path.exists() or path.read_text(encoding="utf-8") != reference.page()


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of date")
    if not parser.parse_args().check:
        (ROOT / PAGE).write_text(reference.page(), encoding="utf-8")
        return 0
    if is_stale(ROOT):
        print(f"{PAGE} is not what the table of findings says; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
