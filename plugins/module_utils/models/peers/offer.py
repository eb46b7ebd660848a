# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A holder's side: the transient service that offers one version to one reader, and its end.

The service runs ``holder.py`` as a user of its own, without capabilities, idle for disk and CPU. It may be reached by
the reader's address alone, and ends by itself, whatever becomes of the controller.
"""

from __future__ import annotations

import ipaddress
import os
import pkgutil
import shutil
import socket
from dataclasses import dataclass
from typing import Any

from ... import cpu_list
from ...disk import durable, folders
from ...disk.archive_entries import shown
from ...disk.record import text
from ...errors import RefusalError
from ...host.run import Run
from ...visible_text import told
from ..store import Store
from . import holder
from .incoming import Incoming
from .manifest import Manifest

UNIT = "tfserving-peer.service"
FOLDER = "/run/tfserving-peer"
# What the service may still do beyond `longest_s` before systemd ends it.
_GRACE_S = 5


@dataclass(frozen=True)
class Terms:
    """To whom a version is offered, and how; ``rate`` is in bytes a second, ``cpus`` a list such as 0-1 or empty."""

    address: str
    port: int
    reader: str
    token: str
    rate: float
    # A reader may come late: the controller opens all offers of a wave, as many at a time as it has forks, and then
    # starts the copies.
    idle_s: float = 300
    longest_s: float = 3600
    cpus: str = ""


def held(store: Store, model: str, version: int, manifest: Manifest) -> tuple[str, str]:
    """Return how this host holds a version (``published``, ``verified``, ``other`` or nothing), and its directory.

    ``other`` is a published version of other content, or one that nobody can vouch for.
    """
    if version in store.versions(model):
        place = store.place(model, version)
        return ("published", place) if manifest.is_of(store.marker(model, version)) else ("other", "")
    incoming = Incoming(store, model, version)
    return ("verified", incoming.tree) if incoming.is_verified(manifest) else ("", "")


def begin(run: Run, store: Store, model: str, version: int, manifest: Manifest, terms: Terms) -> None:
    """Offer a version that this host holds. Raises RefusalError."""
    state, tree = held(store, model, version, manifest)
    if not tree:
        what = "has other content here" if state else "is not whole on this host"
        raise RefusalError(f"version {version} {what}, so it cannot be offered", "let another host offer it")
    files = _files(tree, manifest)
    address, reader = _address("address", terms.address), _address("reader", terms.reader)
    cpus = _cpus(terms.cpus)
    end(run)
    _require_port(address, terms.port)
    folders.make(FOLDER)
    durable.write(os.path.join(FOLDER, "holder.py"), _program(), 0o644)
    offer = {**vars(terms), "address": address, "reader": reader, "tree": tree, "files": files}
    told_once = os.path.join(FOLDER, "offer.json")
    durable.write(told_once, text(offer).encode(), 0o600)
    group = os.stat(tree).st_gid
    status, _output, errors = run(command(terms, reader, cpus, group))
    # The service has read it once it is up, and nobody may find the token later, whatever becomes of this run.
    os.unlink(told_once)
    if status:
        end(run)
        problem = f"version {version} cannot be offered ({told(errors.strip() or 'systemd-run failed', 300)})"
        raise RefusalError(problem, f"see journalctl -u {UNIT}")


def end(run: Run) -> bool:
    """End an offer, if there is one; return whether there was."""
    if not os.path.lexists(FOLDER):
        return False
    run(["systemctl", "stop", UNIT])
    shutil.rmtree(FOLDER)
    return True


def command(terms: Terms, reader: str, cpus: str, group: int) -> list[str]:
    """Return the command line that starts the service."""
    properties = {
        "StandardInput": f"file:{FOLDER}/offer.json",
        "DynamicUser": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        # Models may lie there.
        "ProtectHome": "read-only",
        "ProtectProc": "invisible",
        "ProcSubset": "pid",
        "ProtectClock": "yes",
        "ProtectHostname": "yes",
        "ProtectKernelLogs": "yes",
        "ProtectKernelTunables": "yes",
        "ProtectKernelModules": "yes",
        "ProtectControlGroups": "yes",
        "PrivateDevices": "yes",
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
        "RestrictNamespaces": "yes",
        "RestrictRealtime": "yes",
        "LockPersonality": "yes",
        "MemoryDenyWriteExecute": "yes",
        "UMask": "0077",
        "SystemCallArchitectures": "native",
        "SystemCallFilter": "@system-service",
        "IPAddressDeny": "any",
        "IPAddressAllow": reader,
        "Nice": "19",
        "IOSchedulingClass": "idle",
        # With what it reads: pages beyond that are its own to give back, and none of the servers'.
        "MemoryMax": "256M",
        "TasksMax": "8",
        "TimeoutStartSec": "20",
        "TimeoutStopSec": "5",
        "RuntimeMaxSec": f"{terms.longest_s + _GRACE_S:g}",
        # For models that only the servers' group may read.
        **({"SupplementaryGroups": str(group)} if group else {}),
        **({"CPUAffinity": cpus} if cpus else {}),
    }
    options = [f"--property={name}={value}" for name, value in properties.items()]
    start = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--service-type=notify"]
    described = "--description=One model version for another host"
    return [*start, described, *options, "--", "/usr/bin/python3", "-I", f"{FOLDER}/holder.py"]


def _files(tree: str, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """Return path and size of each file by its digest; refuse a tree that has not all of them as plain files."""
    top = os.path.realpath(tree)
    for path, (_digest, size) in manifest.files.items():
        place = os.path.join(top, path)
        # A link would lead the service out of the version, or to another one.
        if os.path.realpath(place) != place or not os.path.isfile(place) or os.path.getsize(place) != size:
            raise RefusalError(f"{shown(path)} is not what was published", "let another host offer it")
    return {digest: {"path": path, "size": size} for path, (digest, size) in manifest.files.items()}


def _address(option: str, text_of: str) -> str:
    try:
        found = ipaddress.ip_address(text_of)
    except ValueError:
        found = None
    if found is None or found.is_unspecified or found.is_multicast:
        raise RefusalError(f"{told(text_of, 60)!r} is no address of a host", "give one address", option)
    return str(found)


def _cpus(wished: str) -> str:
    try:
        return cpu_list.format(cpu_list.parse(wished)) if wished else ""
    except ValueError:
        raise RefusalError(f"{told(wished, 60)!r} is no list of CPUs", "write one such as 0-1,8", "cpus") from None


def _require_port(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wire.bind((address, port))
        except OSError as error:
            problem = f"port {port} of {address} cannot be listened on ({error.strerror})"
            raise RefusalError(problem, "give another port, or the address that this host has", "port") from error


def _program() -> bytes:
    """Return the text of the holder's program, also out of the archive that Ansible runs modules from."""
    found = pkgutil.get_data(holder.__package__ or "", "holder.py")
    assert found
    return found
