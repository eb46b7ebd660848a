# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who copies a model version from whom, where hosts copy it from each other in waves.

In each wave every holder sends to one reader, which is a holder in the next. So the holders double, and ``n`` hosts
have the version after ``ceil(log2(n + 1))`` waves from one seed. All of it is pure and the same for equal input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

# Failed transfers after which a host takes no further part. One alone does not tell which of the two was at fault.
STRIKES = 2
# From where on ``auto`` lets hosts copy from each other: below, the waves' own calls cost more than they save.
LEAST_HOSTS = 4
LEAST_BYTES = 1_000_000_000

Setting = Literal["auto", "always", "never"]
Racks = Mapping[str, str]


@dataclass(frozen=True)
class Spread:
    """How far a version has come.

    ``dropped`` names hosts that will not get it from others, ``lost`` holders that nobody reads from any more, each
    with the reason. ``failed`` are pairs of reader and holder whose transfer failed.
    """

    holders: frozenset[str]
    missing: frozenset[str]
    failed: tuple[tuple[str, str], ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a reader has not got the version; ``own`` if that is the reader's own trouble, such as a full disk."""

    reason: str
    own: bool = False


def wanted(setting: Setting, hosts: int, size: int) -> bool:
    """Return whether ``hosts`` that lack a version of ``size`` bytes copy it from each other."""
    if setting == "auto":
        return hosts >= LEAST_HOSTS and size >= LEAST_BYTES
    return setting == "always" and hosts > 1


def seeds(missing: Collection[str], racks: Racks, most: int) -> list[str]:
    """Return the hosts that get the version from its source: the first of each rack, at most ``most``."""
    first: dict[str, str] = {}
    for host in sorted(missing):
        first.setdefault(racks.get(host, ""), host)
    return sorted(first.values())[:most]


def wave(spread: Spread, racks: Racks) -> dict[str, str]:
    """Return the holder of each reader of the next wave; empty if there is nobody to read, or to read from.

    Hosts without a rack are in one together. Every holder has a reader as long as there are enough. It is one of the
    holder's own rack if there is one, else one of the rack with the fewest holders. A pair that failed is not tried
    again while the holder has anybody else to send to.
    """
    pairs: dict[str, str] = {}
    failed, spare = set(spread.failed), []
    near: dict[str, list[str]] = {}
    for reader in sorted(spread.missing):
        near.setdefault(racks.get(reader, ""), []).append(reader)
    for holder in sorted(spread.holders):
        mates = near.get(racks.get(holder, ""), [])
        mate = next((mate for mate in mates if (mate, holder) not in failed), None)
        if mate is None:
            spare.append(holder)
        else:
            mates.remove(mate)
            pairs[mate] = holder
    holders = Counter(racks.get(host, "") for host in (*spread.holders, *pairs))
    for holder in spare:
        readers = [reader for mates in near.values() for reader in mates]
        if not readers:
            break
        reader = min(readers, key=lambda each: _preference(each, holder, failed, holders, racks))
        near[racks.get(reader, "")].remove(reader)
        holders[racks.get(reader, "")] += 1
        pairs[reader] = holder
    return dict(sorted(pairs.items()))


def _preference(
    reader: str, holder: str, failed: Collection[tuple[str, str]], holders: Mapping[str, int], racks: Racks
) -> tuple[bool, int, str]:
    return (reader, holder) in failed, holders[racks.get(reader, "")], reader


def after(spread: Spread, pairs: Mapping[str, str], results: Mapping[str, Failure | None]) -> Spread:
    """Return how far the version has come after a wave.

    ``results`` has an entry for each reader that answered: None if it has the version now, else why not. A reader
    without an entry takes no further part, and its holder is not blamed for it.
    """
    blamed = [(reader, holder) for reader, holder in pairs.items() if _is_shared(results.get(reader))]
    failed = (*spread.failed, *blamed)
    dropped, lost = dict(spread.dropped), dict(spread.lost)
    for reader, holder in pairs.items():
        failure = results.get(reader)
        if reader not in results:
            dropped[reader] = "it did not answer"
        elif failure and (failure.own or _strikes(failed, 0, reader) >= STRIKES):
            dropped[reader] = failure.reason
        if failure and not failure.own and _strikes(failed, 1, holder) >= STRIKES:
            lost[holder] = f"transfers to {_listed(each for each, other in failed if other == holder)} failed"
    done = {reader for reader in pairs if reader in results and results[reader] is None}
    return Spread((spread.holders | done) - lost.keys(), spread.missing - done - dropped.keys(), failed, dropped, lost)


def without(spread: Spread, gone: Mapping[str, str]) -> Spread:
    """Return the spread without hosts that cannot take part any more, each with the reason.

    A holder that cannot offer the version is lost, a host that lacks it is dropped. Readers that a lost holder had in
    this wave are given another one by the next call of ``wave``.
    """
    dropped = {host: reason for host, reason in gone.items() if host in spread.missing}
    lost = {host: reason for host, reason in gone.items() if host in spread.holders}
    return Spread(
        spread.holders - lost.keys(),
        spread.missing - dropped.keys(),
        spread.failed,
        {**spread.dropped, **dropped},
        {**spread.lost, **lost},
    )


def stranded(spread: Spread) -> dict[str, str]:
    """Return the hosts that need the version from its source after all, each with the reason."""
    left = {} if spread.holders else dict.fromkeys(spread.missing, "no host is left to copy from")
    return dict(sorted({**spread.dropped, **left}.items()))


def _is_shared(failure: Failure | None) -> bool:
    return failure is not None and not failure.own


def _strikes(failed: Iterable[tuple[str, str]], side: int, host: str) -> int:
    return sum(pair[side] == host for pair in failed)


def _listed(hosts: Iterable[str]) -> str:
    return " and ".join(sorted(set(hosts)))


# --- estimate ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What is to be expected if nothing fails: bytes, and the seconds of the waves, without those of the seeds."""

    size: int
    hosts: int
    seeds: int
    waves: int
    seconds: float

    @property
    def words(self) -> str:
        """Return the estimate for people."""
        hosts = f"{self.hosts} host{'s' * (self.hosts != 1)}"
        waves = f"{self.waves} wave{'s' * (self.waves != 1)}, {_time(self.seconds)}"
        sent, instead = in_words(self.size * self.seeds), in_words(self.size * self.hosts)
        if not self.seeds:
            return f"{in_words(self.size)}, {hosts}: {waves}; the controller sends nothing, instead of {instead}"
        saved = f", not {instead}" if sent != instead else ""
        return f"{in_words(self.size)}, {hosts}: {waves}, after the controller has sent {sent}{saved}"


def estimate(size: int, hosts: int, seeds: int, rate: float, holders: int = 0) -> Estimate:
    """Return the estimate for a version of ``size`` bytes and ``hosts`` that lack it.

    ``seeds`` of them get it from the controller, and ``holders`` beside them have it already. ``rate`` is what one
    holder sends to one reader, in bytes a second.
    """
    waves = most_waves(hosts - seeds, seeds + holders)
    return Estimate(size, hosts, seeds, waves, waves * size / rate)


def most_waves(readers: int, holders: int) -> int:
    """Return the number of waves in which ``readers`` get a version from ``holders``, at least one, if none fails."""
    waves = 0
    while readers > 0:
        readers, holders, waves = readers - holders, 2 * holders, waves + 1
    return waves


def in_words(size: float) -> str:
    """Return a number of bytes as people say it: ``50 GB``, ``1.5 TB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB" if size < 1000 else f"{size:.0f} TB"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
