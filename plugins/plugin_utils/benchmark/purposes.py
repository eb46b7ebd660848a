# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables that would change nothing: those of the other measuring playbook, and those that need another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

ELSEWHERE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "tune": {
        "seconds": ("has no meaning for tune.yml, which takes no trace", "remove it, or use it with profile.yml"),
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
        "seconds": ("has no meaning for benchmark.yml, which takes no trace", "give duration, or use profile.yml"),
        "search": ("has no meaning for benchmark.yml, which tries no settings", "remove it, or use it with tune.yml"),
        "trials": ("has no meaning for benchmark.yml, which tries no settings", "remove it, or use it with tune.yml"),
        "stage": (
            "has no meaning for benchmark.yml, whose searches choose the length of their stages",
            "give budget for a search, or rate and duration for one stage",
        ),
    },
    "profile": {
        **{
            name: ("has no meaning for profile.yml, which takes one trace", f"remove it, or use it with {playbook}")
            for names, playbook in (
                (("against", "against_host", "despite_differences", "shards", "utilisation"), "benchmark.yml"),
                (("search", "trials", "stage"), "tune.yml"),
            )
            for name in names
        },
        "duration": ("has no meaning for profile.yml, whose load lasts as long as its trace", "give seconds"),
        "budget": ("has no meaning for profile.yml, which takes one trace", "give seconds"),
        "protocol": ("has no meaning for profile.yml: the server takes traces by gRPC", "remove it"),
    },
    "optimize": {
        name: ("has no meaning for optimize_model.yml, which compares a candidate with its original", remedy)
        for names, remedy in (
            (("against", "against_host", "despite_differences", "shards", "utilisation"), "use it with benchmark.yml"),
            (("search", "trials", "stage"), "use it with tune.yml"),
            (("seconds",), "use it with profile.yml"),
            (("budget",), "give duration for the turns of each side, or builder_time for the builder"),
        )
        for name in names
    },
}
"""By what is measured for, then by variable: what is wrong with it there, and what to do."""


def misplaced(given: Mapping[str, Any], purpose: str) -> Iterator[WishError]:
    """Yield a refusal of each variable that belongs to the other playbook; an empty text counts as not given."""
    for name, sentence in ELSEWHERE[purpose].items():
        if _is_given(given, name):
            yield WishError(name, *sentence)


def idle(given: Mapping[str, Any], *, kind: str, earlier: bool, engine: str, protocol: str) -> Iterator[WishError]:
    """Yield a refusal of each variable that would change nothing beside the others.

    :param kind: what is measured, as ``Options.kind`` has it; ``earlier``: whether it is compared with an earlier run.
    """
    secured = [name for name in given if name.startswith("tls_") and _is_given(given, name)]
    for changes_nothing, name, problem, remedy in (
        (
            kind != "shards",
            "utilisation",
            "has no effect without shards, since it belongs to the advice on them",
            "remove it, or give shards",
        ),
        (kind == "fixed", "budget", "has no effect on one rate", "give duration instead"),
        (
            not earlier,
            "despite_differences",
            "has no effect without an earlier run to compare with",
            "remove it, or name the file of that run with against",
        ),
        (
            engine == "h2load" and given.get("arrivals") == "poisson",
            "arrivals",
            "is poisson, and h2load sends evenly",
            "use constant, or engine=own",
        ),
        *(
            (protocol == "rest", name, "has no effect by REST, which TensorFlow Serving offers without TLS", "use grpc")
            for name in secured
        ),
    ):
        if changes_nothing and _is_given(given, name):
            yield WishError(name, problem, remedy)


def _is_given(given: Mapping[str, Any], name: str) -> bool:
    return given.get(name) not in (None, "")
