# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""All findings on the servers of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from . import check_environment, check_files, check_place, check_words
from .case import Case
from .check_together import neighbours
from .finding import Check, Finding, finding

CHECKS: tuple[Check, ...] = (
    check_words.words,
    check_words.values,
    check_words.together,
    check_words.habits,
    check_files.files,
    check_files.models,
    check_files.batching,
    check_environment.environment,
    check_place.image,
    check_place.process,
    check_place.life,
    check_place.network,
)


def findings(cases: Sequence[Case]) -> list[Finding]:
    """Return what was found on the servers, the worst first; the same is said once of a server."""
    told = [finding(case, each) for case in cases for check in CHECKS for each in check(case)]
    for _host, sharing in groupby(cases, key=lambda case: case.host):
        told += [finding(case, each) for case, each in neighbours(list(sharing))]
    return sorted(dict.fromkeys(told), key=lambda each: each.rank)
