# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reader of the tables beside this file. Only the controller uses it: hosts need not have PyYAML."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).resolve().parent


@cache
def table(name: str) -> dict[str, Any]:
    """Return the table ``tables/NAME.yml``; the same object on every call, so callers must not change it."""
    # Imported here, so that modules that share code with a reader of tables can still be loaded on hosts.
    import yaml

    # Use libyaml if PyYAML has it: every worker process reads the tables once, and Ansible forks many.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (TABLES / f"{name}.yml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, Loader=loader)
    return content
