# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a diagnosis as text and as files beside its evidence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import durable
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .diagnosis import diagnosed
from .keep import MODE
from .report.page import page
from .report.terminal import terminal

# Beside the evidence of the hosts, none of which may be called like it: the name is no host's.
NAME = "report.diagnosis"
Evidence = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A diagnosis with its report."""

    document: Mapping[str, Any]
    text: str
    files: list[str]


def published(
    folder: str,
    evidence: Mapping[str, Evidence],
    missing: Mapping[str, str],
    before: Mapping[str, Evidence],
    client: Mapping[str, Evidence],
) -> Published:
    """Diagnose, write the report and return it. Raises WishError where it cannot be written."""
    document = diagnosed(evidence, missing, before, client)
    data = json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    files = [_written(folder, f"{NAME}.json", data), _written(folder, f"{NAME}.html", page(document))]
    return Published(document, f"{terminal(document)}\nReport: {', '.join(files)}\n", files)


def _written(folder: str, name: str, content: str) -> str:
    """Write a file for its owner alone; evidence tells much about a host."""
    path = os.path.join(os.path.abspath(os.path.expanduser(folder)), name)
    try:
        durable.write(path, content.encode(), MODE)
    except OSError as error:
        raise WishError(path, f"cannot be written ({error.strerror})", "give another folder") from error
    return path
