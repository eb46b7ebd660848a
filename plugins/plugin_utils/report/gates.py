# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host after somebody has opened or closed them, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

from ..phrases import joined


def text(host: str, result: Mapping[str, Any]) -> str:
    """Return a line for each instance, and below it what was proven and what was not.

    :param result: what the module gate returned.
    """
    lines = [line for instance in result["instances"] for line in _lines(host, instance)]
    return "\n".join(visible(line) for line in lines) or f"{host} has no instances"


def _lines(host: str, instance: Mapping[str, Any]) -> Iterator[str]:
    yield f"{host} {instance['name']}: {instance['words'] or 'open'}"
    if instance["proven"]:
        yield f"  proven: {'; '.join(instance['proven'])}"
    if instance["unproven"]:
        yield f"  not proven: {'; '.join(instance['unproven'])}"
    if instance["direct_callers"]:
        yield f"  called past the gateways by {joined(instance['direct_callers'])}, whom nobody has told"
