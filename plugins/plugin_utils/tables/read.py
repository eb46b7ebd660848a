# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the tables beside this file. Only the controller does: PyYAML is not asked of the hosts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TABLES = Path(__file__).resolve().parent


@cache
def table(name: str) -> dict[str, Any]:
    """Return the table ``tables/NAME.yml``; the same object on every call, so callers must not change it."""
    # Here, so that modules which share code with a reader of tables can still be loaded on hosts.
    import yaml

    # libyaml where PyYAML was built with it: the tables are read once per worker process, and Ansible forks many.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (TABLES / f"{name}.yml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, Loader=loader)
    return content
