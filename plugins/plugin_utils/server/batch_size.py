# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The size of the largest batch, which is not that of the largest request where the server cuts large requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def largest_batch(batching: Mapping[str, Any]) -> Any:
    """Return the rows of the largest batch that runs, None where the parameters do not tell.

    Without splitting the server accepts no larger request than that, and does not read ``max_execution_batch_size``
    (servables/tensorflow/bundle_factory_util.h).
    """
    largest = batching.get("max_batch_size")
    return (
        batching.get("max_execution_batch_size", largest) if batching.get("enable_large_batch_splitting") else largest
    )
