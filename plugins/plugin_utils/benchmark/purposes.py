# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables of one of the measuring playbooks that mean nothing to the other, where they are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

ELSEWHERE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "tune": {
        "rate": (
            "has no meaning for tune.yml, which looks for the highest rate of each setting",
            "remove it, or measure one rate with benchmark.yml",
        ),
        "duration": (
            "has no meaning for tune.yml, which measures in stages",
            "give stage for their length, or budget for the whole",
        ),
        "against": (
            "has no meaning for tune.yml, which compares with the plan by itself",
            "remove it, or compare two runs with benchmark.yml",
        ),
        "against_host": (
            "has no meaning for tune.yml, which measures one instance",
            "remove it, or compare two instances with benchmark.yml",
        ),
        "despite_differences": (
            "has no meaning for tune.yml, which compares with no earlier run",
            "remove it",
        ),
    },
    "benchmark": {
        "search": ("has no meaning for benchmark.yml, which tries no settings", "remove it, or use it with tune.yml"),
        "trials": ("has no meaning for benchmark.yml, which tries no settings", "remove it, or use it with tune.yml"),
        "stage": (
            "has no meaning for benchmark.yml, whose searches choose the length of their stages",
            "give budget for a search, or rate and duration for one stage",
        ),
    },
}
"""By what is measured for, then by variable: what is wrong with it there, and what to do."""


def misplaced(given: Mapping[str, Any], purpose: str) -> Iterator[WishError]:
    """Yield a refusal of each variable that belongs to the other playbook; an empty text counts as not given."""
    for name, sentence in ELSEWHERE[purpose].items():
        if _is_given(given, name):
            yield WishError(name, *sentence)
    if purpose == "tune" and _is_given(given, "utilisation") and not _is_given(given, "shards"):
        problem = "has no meaning for tune.yml without shards, since it belongs to the advice on them"
        yield WishError("utilisation", problem, "remove it, or give shards")


def _is_given(given: Mapping[str, Any], name: str) -> bool:
    return given.get(name) not in (None, "")
