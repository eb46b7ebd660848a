# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GetModelStatus, which both faces offer."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from tfs_reference.states import StateMonitor
from tfs_reference.status import not_found


def model_status(monitor: StateMonitor, name: str, version: int | None) -> Any:
    """GetModelStatusResponse with every version ever known (or the one asked for); raises NOT_FOUND."""
    known = monitor.versions(name)
    if not known:
        raise not_found(f"Could not find any versions of model {name}")
    if version is not None:
        if version not in known:
            raise not_found(f"Could not find version {version} of model {name}")
        known = {version: known[version]}
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, current in known.items():
        entry = response.model_version_status.add(version=number, state=current.state)
        entry.status.error_code = current.error.number if current.error else 0
        entry.status.error_message = current.error.message if current.error else ""
    return response
