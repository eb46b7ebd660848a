# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The variables of a role that its plan reads on the controller, all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import unknown_key
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from .checks import Check

Together = Callable[[Mapping[str, Any], Refusals], None]


def completed(
    given: Mapping[str, Any],
    role: tuple[str, str],
    defaults: Mapping[str, Any],
    checks: Mapping[str, Check],
    together: Together,
) -> dict[str, Any]:
    """Return all settings, checked, with the defaults where none is given, or raise WishError for all wrong ones.

    :param role: its name, and what it is called in a sentence.
    :param together: adds what is wrong with several at once to the refusals, if each is right.
    """
    refusals = Refusals()
    for name in given:
        if name not in defaults:
            refusals.add(unknown_key(role[0], name, role[1], defaults))
    result = {
        name: refusals.check(checks[name], name, given.get(name, default), default=default)
        for name, default in defaults.items()
    }
    refusals.stop()
    together(result, refusals)
    refusals.stop()
    return result
