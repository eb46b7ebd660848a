# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `cache` of a model: whether gateways remember its answers, how long, and how large they may be."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import boolean

from . import checks as fields

DAY_S = 86_400
# Beyond that a request takes longer to read than most models take to answer.
MOST_BODY_KB = 8192
MOST_ANSWER_KB = 65_536

DEFAULTS: dict[str, Any] = {
    # A minute takes most of the repeated calls of one user's visit, and is soon over where something was wrong.
    "ttl_s": 60,
    # Calls as before, and only their hashes in the log, until somebody has seen what there is to be had.
    "shadow": True,
    # What HAProxy keeps of a request (tune.bufsize, 16 KiB with its headers): it can send this once more when the store
    # dies in the middle of a call.
    "max_body_kb": 12,
    "max_answer_kb": 256,
    # Nobody has said that equal requests get equal answers, so that the graph has to show it.
    "deterministic": False,
}


FIELDS: dict[str, fields.Check] = {
    "ttl_s": fields.whole(1, DAY_S, "seconds"),
    "shadow": boolean,
    "max_body_kb": fields.whole(1, MOST_BODY_KB, "KiB"),
    "max_answer_kb": fields.whole(1, MOST_ANSWER_KB, "KiB"),
    "deterministic": boolean,
}


def cache(path: str, value: Any) -> dict[str, Any]:
    """Check how a gateway may remember a model's answers; what is not said takes its default."""
    return {**DEFAULTS, **fields.fields(path, value, "the cache of a model", FIELDS)}
