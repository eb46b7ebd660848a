# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What slices hand over to their runner, which shows it once for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..planner import in_force

# The kind of result that says which versions each host serves.
RECORDS = "records"


def path(folder: Path, kind: str, number: int) -> Path:
    """Return the file of what a slice hands over."""
    return folder / f"{kind}-{number}.json"


def keep(folder: Path, kind: str, number: int, version: str, content: Mapping[str, Any]) -> None:
    """Keep what a slice hands over, with the version of the collection that has made it."""
    own = {**content, "records": list(map(_needed, content["records"]))} if kind == RECORDS else content
    text = json.dumps({"version": version, "content": own})
    path(folder, kind, number).write_text(text, encoding="utf-8")


def _needed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what other slices need of a host's record: all of it, a thousand times, would fill their memory."""
    plan = record.get("plan") or {}
    instances = [{"models": each.get("models") or []} for each in plan.get("instances") or ()]
    models = [{key: each[key] for key in in_force.KEYS if key in each} for each in plan.get("models") or ()]
    return {
        "plan": {"instances": instances, "models": models} if plan else {},
        "rollouts": record.get("rollouts") or {},
    }


def merged(folder: Path, kind: str, numbers: Iterable[int], version: str) -> dict[str, Any]:
    """Return the contents of all slices as one; a slice that has ended before it handed over its own is not in it.

    Mappings are joined key by key, lists one after another. Raises WishError for a record of another version.
    """
    contents = [
        _content(file, version) for file in (path(folder, kind, number) for number in numbers) if file.is_file()
    ]
    return {key: _joined([content[key] for content in contents]) for key in (contents[0] if contents else ())}


def _content(file: Path, version: str) -> dict[str, Any]:
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept["version"] != version:
        by = told(str(kept["version"]), 40)
        problem = f"is a record of tfserving.fleet {by}, and this is {version}"
        raise WishError(file.name, problem, "have one version in the collections path, and run it again")
    return dict(kept["content"])


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: value for part in parts for key, value in part.items()}
    return [each for part in parts for each in part]
