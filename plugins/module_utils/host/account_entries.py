# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The accounts and groups of a host that matter to the servers; accounts.py decides which are refused."""

from __future__ import annotations

import contextlib
import grp
import pwd
from collections.abc import Iterable

from .accounts import HEALTH, SERVER, Account, Group, of_instance


def group_of(name: str) -> Group | None:
    """Return the group with that name."""
    try:
        found = grp.getgrnam(name)
    except KeyError:
        return None
    return Group(found.gr_name, found.gr_gid, tuple(found.gr_mem))


def accounts_of(group: Group | None, instances: Iterable[str]) -> list[Account]:
    """Return the accounts in the group, as far as they can be listed, and those named like the instances' accounts."""
    entries = [each for each in pwd.getpwall() if group and each.pw_gid == group.gid]
    for name in instances:
        for prefix in (SERVER, HEALTH):
            # A directory service may resolve accounts that it does not list.
            with contextlib.suppress(KeyError):
                entries.append(pwd.getpwnam(of_instance(name, prefix)))
    return [Account(each.pw_name, each.pw_uid, each.pw_gid, each.pw_gecos, each.pw_shell) for each in entries]
