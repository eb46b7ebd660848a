# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The accounts of the servers: one for each instance, which systemd makes as it starts, and one group for all of them.

The group is how the kernel tells the servers from other processes of a host (``meta skgid`` of nftables), and how they
read a model store that is closed to others. Both only hold while the group has no other member.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WishError
from ..refusals import Refusals

GROUP = "tfserving_group"
REMEDY = f"leave {GROUP} out, or name a group that is the servers' alone"

SERVER = "tfserving"
HEALTH = "tfhealth"
# Of a user's name in systemd (UT_NAMESIZE of utmp(5), less its end).
LONGEST = 31
# Ids that systemd gives to the accounts it makes (UIDS-GIDS.md of systemd).
DYNAMIC = range(61184, 65520)
# Ids below are given out by Debian itself (base-passwd, up to users, 100); above are people's (Debian policy, 9.2.2).
SYSTEM = range(101, 1000)
# Groups of no members that still open doors: devices, logs, the keys of other services, root by way of an engine.
PRIVILEGED = frozenset((
    "adm", "crontab", "disk", "docker", "incus", "incus-admin", "input", "kmem", "kvm", "libvirt", "lxd", "mail",
    "messagebus", "netdev", "nvidia-persistenced", "plugdev", "podman", "polkitd", "rdma", "render", "sgx", "shadow",
    "ssh", "_ssh", "ssl-cert", "staff", "sudo", "tape", "tss", "tty", "utmp", "uucp", "video", "wheel",
))  # fmt: skip


@dataclass(frozen=True)
class Account:
    """A user of the host, as far as it matters here."""

    name: str
    uid: int
    gid: int
    comment: str = ""
    shell: str = ""

    def formerly_ours(self) -> bool:
        """Whether the role made it: up to 0.1.0 all servers of a host shared an account."""
        return self.comment == "TensorFlow Serving" and self.shell.endswith("/nologin") and self.uid in SYSTEM


@dataclass(frozen=True)
class Group:
    """A group of the host."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


def of_instance(name: str, prefix: str = SERVER) -> str:
    """Return the account of an instance; names that are too long for one are told apart by a digest."""
    account = f"{prefix}-{name}"
    if len(account) <= LONGEST:
        return account
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{account[: LONGEST - len(digest) - 1]}-{digest}"


def check_group(name: str, group: Group | None, accounts: Iterable[Account]) -> None:
    """Raise WishError where ``group``, of that name, is there and is not the servers' alone."""
    if group is None:
        return
    if group.gid not in SYSTEM:
        whose = "comes with the system" if group.gid < SYSTEM.start else "is not a system group"
        raise WishError(GROUP, f"{name} {whose} (id {group.gid})", REMEDY)
    if name in PRIVILEGED or name.startswith("systemd-"):
        raise WishError(GROUP, f"{name} gives rights on the host", REMEDY)
    own = {each.name for each in accounts if each.gid == group.gid and not each.formerly_ours()}
    members = sorted(own.union(group.members))
    if members:
        raise WishError(GROUP, f"{name} has members ({', '.join(members[:5])})", REMEDY)


def check_instances(names: Iterable[str], accounts: Iterable[Account]) -> None:
    """Raise WishError where an instance's account would be one that is there: systemd would use it as it is."""
    found = {each.name: each for each in accounts}
    for name in names:
        account = found.get(of_instance(name)) or found.get(of_instance(name, HEALTH))
        if account and account.uid not in DYNAMIC:
            raise WishError(
                "tfserving_instances",
                f"{name} would run as {account.name}, which is an account of this host already (id {account.uid})",
                "name the instance otherwise, or remove the account",
            )


def check(found: Mapping[str, Any], group: str, instances: Iterable[str]) -> None:
    """Raise WishErrors with all that speaks against the group and the instances on a host of these entries."""
    known = [Account(**each) for each in found["accounts"]]
    there = Group(**found["group"]) if found["group"] else None
    refusals = Refusals()
    refusals.check(check_group, group, there, known)
    refusals.check(check_instances, instances, known)
    refusals.stop()
