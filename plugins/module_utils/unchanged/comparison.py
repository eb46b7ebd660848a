# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares a host with its record of the last run, or writes that record: all checks in one call.

Nothing here ever says that a host is unchanged unless each check has run and found what it had found before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..disk.record import Record
from ..errors import RefusalError, WishError
from ..kernel.partition import PartitionError
from ..visible_text import told
from .checks import CHECKS, Host
from .finding import digest

PATH = "/var/lib/tfserving-fleet/unchanged.json"
SCHEMA = 1
# The plan's instances and models are in it, as in the record of the plan.
_MOST_BYTES = 16 << 20
# Errors whose words are for people. Others may hold values, which nobody is to read.
_WORDED = (WishError, RefusalError, PartitionError, OSError, RuntimeError)
_LONGEST_WORDS = 300

_SHAPE = {"schema": lambda value: value == SCHEMA, "wishes": str, "arguments": {str: dict}, "found": {str: str}}


def store(path: str) -> Record:
    """Return the place of the record, which only root may read: it holds the plan's instances and models."""
    return Record(path, _SHAPE, schema=SCHEMA, most=_MOST_BYTES, mode=0o600)


def compare(host: Host, known: Any, wishes: str) -> str:
    """Return why a host needs a whole run, or an empty text.

    :param known: the record of the host, None without one.
    :param wishes: the digest of what the host is to be.
    """
    if not known or not wishes:
        return "it has no record of a run"
    if known["wishes"] != wishes:
        return "its wishes or the collection have changed"
    if known["found"].keys() != CHECKS.keys() or known["arguments"].keys() != CHECKS.keys():
        return "its record is of another release"

    def differs(name: str, state: Any) -> str:
        return "" if digest(state) == known["found"][name] else f"{name}: it is not as it was recorded"

    return _look(host, known["arguments"], differs)


def record(host: Host, arguments: Mapping[str, Mapping[str, Any]], wishes: str) -> tuple[dict[str, Any], str]:
    """Return the record of a host that is as the wishes want it; an empty one and the reason where it is not."""
    found: dict[str, str] = {}

    def keep(name: str, state: Any) -> str:
        found[name] = digest(state)
        return ""

    missing = [name for name in CHECKS if name not in arguments]
    why = f"{missing[0]}: there are no arguments to repeat it with" if missing else _look(host, arguments, keep)
    if why or not wishes:
        return {}, why or "there is no digest of the wishes"
    kept = {name: dict(arguments[name]) for name in CHECKS}
    return {"schema": SCHEMA, "wishes": wishes, "arguments": kept, "found": found}, ""


def _look(host: Host, arguments: Mapping[str, Mapping[str, Any]], judge: Callable[[str, Any], str]) -> str:
    """Run the checks until one of them finds anything; return what."""
    for name, check in CHECKS.items():
        try:
            due, state = check(host, arguments[name])
            why = f"{name}: {due} would change" if due else judge(name, state)
        except _WORDED as error:
            why = f"{name}: cannot be compared ({told(' '.join(str(error).split()), _LONGEST_WORDS)})"
        except Exception as error:  # whatever it is: the whole run meets it again
            why = f"{name}: cannot be compared ({type(error).__name__})"
        if why:
            return why
    return ""
