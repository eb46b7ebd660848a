# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The options of modules for owner and modes of what they publish."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Mapping
from typing import Any, Callable

from ..errors import WishError
from ..host import accounts
from .store import Attributes


def attributes(params: Mapping[str, Any]) -> Attributes:
    """Return owner and modes as the options of a module say; raises WishError for what this host cannot give."""
    return Attributes(
        _id(params["owner"], "owner", lambda name: pwd.getpwnam(name).pw_uid),
        _id(params["group"], "group", lambda name: grp.getgrnam(name).gr_gid),
        _mode(params["directory_mode"], "directory_mode"),
        _mode(params["file_mode"], "file_mode"),
    )


def _id(name: str, option: str, find: Callable[[str], int]) -> int:
    try:
        found = int(name) if name.isdecimal() else find(name)
    except KeyError:
        raise WishError(option, f"{name} is not on this host", "create it first, or name another") from None
    if found in accounts.DYNAMIC:
        problem = f"{name} is lent by systemd to a service while it runs, and to another one later (id {found})"
        raise WishError(option, problem, "name one that is there to stay")
    return found


def _mode(mode: str, option: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", mode):
        raise WishError(option, f"{mode!r} is not a mode", "write three octal digits in quotes, such as '0755'")
    return int(mode, 8)
