# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The course of a version through a fleet: what tasks hand on from one wave to the next, as plain data.

``hosts`` are what is known of each host of the play: ``here`` (what model_peer said to a query), ``models`` (of its
plan), ``rack``, ``address``, ``port``, and of the last wave ``offered`` and ``pulled``, the results of its tasks.

What is returned is a task's result, so no key may be one that Ansible reads, such as ``failed``.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from . import waves
from .waves import Failure, Setting, Spread

Host = Mapping[str, Any]
# (host, model, version) -> bytes of a version that the controller would send to the host; 0 for others.
Size = Callable[[str, str, int], int]

# What a transfer may take: some minutes, and the time at this rate (bytes a second).
_LEAST_S = 600
_LEAST_RATE = 10e6


def begin(
    hosts: Mapping[str, Host], setting: Setting, most_seeds: int, rate: float, size_of: Size
) -> list[dict[str, Any]]:
    """Return the versions that hosts copy from each other, each with its seeds and its first state.

    ``rate`` is that of the estimate, in bytes a second. Hosts that ``nameless`` finds take no part.
    """
    found = []
    hosts = {name: host for name, host in hosts.items() if name not in nameless(hosts)}
    for model, version in sorted({pair for host in hosts.values() for pair in _wished(host)}):
        asking = [name for name, host in sorted(hosts.items()) if (model, version) in _wished(host)]
        holders = [name for name in asking if str(version) in (hosts[name]["here"].get(model) or {})]
        missing = [name for name in asking if name not in holders]
        # First without the size: to know it, the controller may have to fetch the version.
        if len(missing) < 2 or not waves.wanted(setting, len(missing), waves.LEAST_BYTES):
            continue
        size = size_of(missing[0], model, version)
        if not size or not waves.wanted(setting, len(missing), size):
            continue
        seeds = [] if holders else waves.seeds(missing, _racks(hosts), max(1, most_seeds))
        expected = waves.estimate(size, len(missing), len(seeds), rate, len(holders))
        found.append(
            {
                "model": model,
                "version": version,
                "size": size,
                "seeds": seeds,
                "estimate": f"{model} version {version}: {expected.words}",
                "limit_s": _LEAST_S + size / _LEAST_RATE,
                "state": _plain(Spread(frozenset([*holders, *seeds]), frozenset(missing) - frozenset(seeds))),
            }
        )
    return found


def nameless(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Return the hosts that others cannot copy with, because what should be their address is none: name to text."""
    given = {name: str(host["address"]) for name, host in sorted(hosts.items()) if "address" in host}
    return {name: address for name, address in given.items() if not _is_address(address)}


def follow(state: Mapping[str, Any], hosts: Mapping[str, Host]) -> dict[str, Any]:
    """Return the state after the last wave, with the pairs of the next one and the token of each pair."""
    spread, pairs = _spread(state), dict(state["pairs"])
    gone = {holder: reason for holder in pairs.values() if (reason := _not_offered(hosts.get(holder)))}
    spread = waves.without(spread, gone)
    pairs = {reader: holder for reader, holder in pairs.items() if holder not in gone}
    results = {reader: _outcome(hosts[reader]["pulled"]) for reader in pairs if _answered(hosts.get(reader), "pulled")}
    spread = waves.after(spread, pairs, results)
    return _plain(spread, waves.wave(spread, _racks(hosts)))


def _wished(host: Host) -> set[tuple[str, int]]:
    return {
        (model["name"], int(version))
        for model in host["models"]
        for version in (model["versions"] if model.get("provided") is None else model["provided"])
    }


def _racks(hosts: Mapping[str, Host]) -> dict[str, str]:
    return {name: str(host.get("rack") or "") for name, host in hosts.items()}


def _is_address(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not found.is_unspecified and not found.is_multicast


def _answered(host: Host | None, task: str) -> bool:
    """Return whether a task has a result; one that broke, which the role lets pass, has nothing but a message."""
    result = (host or {}).get(task) or {}
    return "complete" in result or ("msg" in result and not result.get("unreachable"))


def _not_offered(host: Host | None) -> str:
    """Return why a holder has not offered the version; empty if it has."""
    if host is None or not _answered(host, "offered"):
        return "it did not answer"
    result = host["offered"]
    return "" if result.get("complete") else _reason(result)


def _outcome(result: Mapping[str, Any]) -> Failure | None:
    if result.get("complete"):
        return None
    return Failure(_reason(result), own="complete" not in result or bool(result.get("own")))


def _reason(result: Mapping[str, Any]) -> str:
    return str(result.get("failure") or result.get("msg") or "no reason was given")


def _spread(state: Mapping[str, Any]) -> Spread:
    failed = tuple((reader, holder) for reader, holder in state["blamed"])
    holders, missing = frozenset(state["holders"]), frozenset(state["missing"])
    return Spread(holders, missing, failed, dict(state["dropped"]), dict(state["lost"]))


def _plain(spread: Spread, pairs: Mapping[str, str] | None = None) -> dict[str, Any]:
    pairs = pairs or {}
    return {
        "holders": sorted(spread.holders),
        "missing": sorted(spread.missing),
        "blamed": [list(pair) for pair in spread.failed],
        "dropped": dict(spread.dropped),
        "lost": dict(spread.lost),
        "pairs": dict(pairs),
        "readers": {holder: reader for reader, holder in pairs.items()},
        "tokens": {reader: secrets.token_hex(32) for reader in pairs},
        "stranded": waves.stranded(spread),
    }
