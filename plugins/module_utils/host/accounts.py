# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The accounts of the servers: one per instance, created by systemd as it starts, and one group for all.

By the group the kernel tells the servers from other processes of a host (``meta skgid`` of nftables), and through it
they read a model store that is closed to others. Both only hold while the group has no other member.
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
# systemd's limit for user names (UT_NAMESIZE of utmp(5), less the terminator).
LONGEST = 31
# The ids of accounts that systemd creates (UIDS-GIDS.md of systemd).
DYNAMIC = range(61184, 65520)
# Lower ids are assigned by Debian itself (base-passwd, up to users, 100), higher ones to people (Debian policy, 9.2.2).
SYSTEM = range(101, 1000)
# Groups that grant access even without members: devices, logs, keys of other services, root through a container engine.
PRIVILEGED = frozenset((
    "adm", "crontab", "disk", "docker", "incus", "incus-admin", "input", "kmem", "kvm", "libvirt", "lxd", "mail",
    "messagebus", "netdev", "nvidia-persistenced", "plugdev", "podman", "polkitd", "rdma", "render", "sgx", "shadow",
    "ssh", "_ssh", "ssl-cert", "staff", "sudo", "tape", "tss", "tty", "utmp", "uucp", "video", "wheel",
))  # fmt: skip


@dataclass(frozen=True)
class Account:
    """An account of the host, as far as it matters here."""

    name: str
    uid: int
    gid: int
    comment: str = ""
    shell: str = ""

    def formerly_ours(self) -> bool:
        """Return whether the role created it: up to 0.1.0 all servers of a host shared an account."""
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
    """Raise WishError if a group named ``group`` exists and is not the servers' alone."""
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
    """Raise WishError if an instance's account already exists: systemd would use it as it is."""
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
    """Raise WishErrors with all objections to the group and the instances on a host with these entries."""
    known = [Account(**each) for each in found["accounts"]]
    there = Group(**found["group"]) if found["group"] else None
    refusals = Refusals()
    refusals.check(check_group, group, there, known)
    refusals.check(check_instances, instances, known)
    refusals.stop()
