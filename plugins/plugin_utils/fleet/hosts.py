# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the fleet as a whole before a host is asked: that it has hosts, and how many are taken at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

# Groups that every inventory has.
_EVERYWHERE = ("all", "ungrouped")
# A sentence lists no more names than this.
NAMED = 20

_PERCENT = re.compile(r"(?:[1-9][0-9]?|100)%")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


# Variables for the size of batches, and their defaults.
BATCHES = {"fleet_serial": "25%", "fleet_driver_serial": 1}


def check(
    pattern: Any,
    matched: Sequence[str],
    limited: Sequence[str],
    groups: Mapping[str, list[str]],
    batches: Mapping[str, Any],
) -> None:
    """Raise WishErrors with everything that is wrong with the fleet of a run.

    :param matched: hosts in the inventory that the pattern matches.
    :param limited: those within ``--limit``.
    """
    refusals = Refusals()
    for path, value in batches.items():
        refusals.check(refuse_batch, path, value)
    refusals.check(refuse_pattern, pattern)
    if not refusals.errors:
        refusals.check(refuse_nobody, pattern, matched, limited, groups)
    refusals.stop()


def refuse_pattern(pattern: Any) -> None:
    """Refuse an invalid pattern of hosts."""
    for each in pattern if isinstance(pattern, list) else [pattern]:
        if not isinstance(each, str) or not each.strip():
            what = "is empty" if isinstance(each, str) else f"is {described(each)}"
            raise WishError("fleet_hosts", what, "write a pattern of hosts, such as tfserving or rack1:rack2")


def refuse_nobody(
    pattern: Any, matched: Sequence[str], limited: Sequence[str], groups: Mapping[str, list[str]]
) -> None:
    """Refuse a fleet without hosts, or without any within ``--limit``."""
    shown = pattern if isinstance(pattern, str) else ":".join(pattern)
    if not matched:
        there = named(sorted(name for name in groups if name not in _EVERYWHERE and groups[name]))
        remedy = f"name others with -e fleet_hosts=...; the groups that have hosts are {there}"
        raise WishError("fleet_hosts", f"no host of the inventory matches '{shown}'", remedy if there else _NO_GROUPS)
    if not set(matched) & set(limited):
        raise WishError(
            "--limit", f"leaves none of the fleet's hosts ('{shown}')", f"they are {named(sorted(matched))}"
        )


_NO_GROUPS = "the inventory has no group with hosts; write one, or name another with -i"


def named(names: Sequence[str]) -> str:
    """Return names as a list in a sentence, of readable length."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def refuse_batch(path: str, value: Any) -> None:
    """Refuse a batch size that Ansible cannot use."""
    sizes = value if isinstance(value, list) else [value]
    for each in sizes or [None]:
        text = str(each) if isinstance(each, (int, str)) and not isinstance(each, bool) else ""
        if not (_PERCENT.fullmatch(text) or _COUNT.fullmatch(text)):
            shown = described(each) if each is not None else kind(value) if isinstance(value, list) else "nothing"
            raise WishError(
                path, f"is {shown}", "write a number of hosts from 1, a percentage from 1% to 100%, or a list of these"
            )
