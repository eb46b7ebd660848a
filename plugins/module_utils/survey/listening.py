# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a server listens, in whatever network it is, and a way to ask it there."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import re
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..diagnosis import sockets
from ..host.sysfs import Tree

T = TypeVar("T")
MOST = 64
_CLONE_NEWNET = 0x40000000  # linux/sched.h
GRPC, REST, UNKNOWN = "grpc", "rest", "unknown"
# main.cc
_DEFAULT_PORT = "8500"


def read(tree: Tree, pid: int, flags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what a process listens on by TCP, each port with what its flags use it for."""
    owned = set(sockets.inodes(tree, pid))
    kinds = {flags.get("port", _DEFAULT_PORT): GRPC, flags.get("rest_api_port", ""): REST}
    found = {
        (row.port, address(row.address))
        for row in sockets.rows(tree, f"proc/{pid}/net")
        if row.state == sockets.LISTEN and row.inode in owned
    }
    return [
        {"address": place, "port": port, "kind": kinds.get(str(port), UNKNOWN)} for port, place in sorted(found)[:MOST]
    ]


def address(text: str) -> str:
    """Return an address of the kernel's tables: words of 32 bits, each in the byte order of the machine."""
    words = [int(word, 16) for word in re.findall(".{1,8}", text)]
    packed = b"".join(struct.pack("<I" if sys.byteorder == "little" else ">I", word) for word in words)
    found = ipaddress.ip_address(packed)
    return str(getattr(found, "ipv4_mapped", None) or found)


def caller(place: str) -> str:
    """Return the address at which to ask for what listens at another: the loopback where it listens at all of them."""
    found = ipaddress.ip_address(place)
    if found.is_unspecified:
        # One that takes IPv6 takes IPv4 too, unless told otherwise; the loopback of IPv4 is there in any network.
        return "127.0.0.1"
    return str(found)


def within(tree: Tree, pid: int, work: Callable[[], T]) -> T:
    """Return what ``work`` returns in the network of a process: a container's is another one.

    Only a thread of its own goes there, and ends with the work. Raises what ``work`` raises, and OSError if the network
    cannot be entered.
    """
    network = f"proc/{pid}/ns/net"
    if not tree.live or _identity(tree, network) == _identity(tree, "proc/self/ns/net"):
        return work()
    answers: list[T] = []
    errors: list[BaseException] = []
    thread = threading.Thread(target=_entered, args=(tree.path(network), work, answers, errors), daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]


def _entered(network: str, work: Callable[[], T], answers: list[T], errors: list[BaseException]) -> None:
    try:
        handle = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # os.setns is Python 3.12's.
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"its network cannot be entered ({os.strerror(number)})")
        finally:
            os.close(handle)
        answers.append(work())
    except BaseException as error:
        errors.append(error)


def _identity(tree: Tree, path: str) -> str:
    return tree.link_name(path) or ""
