# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where on the controller the versions are that it sends: where a path says, or where an import has put them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources

from ..sources import imports
from ..sources.imports import Desk
from .arguments import beside

# Where a task leaves these options out.
TIMEOUT_S = 60
IMPORTS = "~/.ansible/tfserving-fleet-imports"


@dataclass
class Origins:
    """The sources of a task: ``models`` as in the plan, ``beside`` what travels beside it, by name of the model."""

    models: Sequence[Mapping[str, Any]]
    beside: Mapping[str, Mapping[str, Any]]
    locate: Callable[[str], str]
    desk: Desk
    notes: list[str] = field(default_factory=list)
    """What people should know of the versions that were found."""

    def told(self, need: Mapping[str, Any]) -> str:
        """Return what a version is called in messages."""
        source, version = self._of(need)
        if sources.of(source).imported:
            return imports.told_of(source, version)
        return f"{self.locate(need['uri'])} on the controller"

    def place(self, need: Mapping[str, Any]) -> tuple[str, str]:
        """Return path and known checksum of a version, fetched if it has to be; a path is empty if it is not to be."""
        source, version = self._of(need)
        if not sources.of(source).imported:
            return self.locate(need["uri"]), ""
        found = imports.bring(source, version, need["sha256"], self.desk)
        self.notes += [note for note in found.notes if note not in self.notes]
        return found.path, found.sha256

    def _of(self, need: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        name, _, version = need["key"].rpartition("/")
        shown = next(model["source"] for model in self.models if model["name"] == name)
        return sources.whole(shown, self.beside.get(name, {})), int(version)


def of_task(arguments: Mapping[str, Any], locate: Callable[[str], str], cache: str, fetch: bool) -> Origins:
    """Return the sources of a task with the arguments of model_repository; ``cache`` is for this run."""
    timeout = float(arguments.get("download_timeout") or TIMEOUT_S)
    pins = locate(os.path.expanduser(arguments.get("imports") or IMPORTS))
    desk = Desk(cache, pins, os.environ, timeout, fetch)
    return Origins(arguments["models"], beside(arguments.get("sources")) or {}, locate, desk)
