# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A file system is full, so that models cannot be published."""

from __future__ import annotations

from collections.abc import Mapping

from ....signals.thresholds import DISK_FREE, DISK_FREE_PAGE
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...reading import listed, mapping, number, ratio, text
from ...verdicts import cleared, first_line, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each file system that the collection writes to."""
    disks = case.fact("disks")
    if disks is None:
        return [unknown("the free space of file systems could not be read")]
    return [_judged(case, mapping(each)) for each in listed(disks)]


def _judged(case: Case, disk: Mapping[str, object]) -> Judged:
    path, free, inodes = text(disk.get("path")), number(disk.get("free_mb")), number(disk.get("inodes_free"))
    share = ratio(free, number(disk.get("total_mb")))
    if free is None or share is None:
        return unknown(f"the free space of {path} could not be read")
    failed = [line for each in case.instances for line in each.log(r"No space left on device", r"ENOSPC")]
    proofs = (
        proof("statvfs", f"{path}: {free:.0f} MB free ({percent(share)})", f"over {DISK_FREE.percent}"),
        proof("statvfs", f"{path}: {'unknown' if inodes is None else f'{inodes:.0f}'} inodes free", "some"),
        proof("journal", first_line(failed), "no line about a full disk"),
    )
    if share > DISK_FREE.value and inodes != 0:
        return cleared(f"{path} has room.", *proofs)
    full = free < 1 or inodes == 0 or share < DISK_FREE_PAGE.value or bool(failed)
    test = "Space and inodes were asked for where models are published."
    return Judged("cause" if full else "contributor", 0.95, proofs, test, impact=0.5 if full else 0.2)


FAULT = Fault(
    id="disk.full",
    title="The disk of the models is full",
    layer="resources",
    observable="no free space or inodes, ENOSPC in the log",
    remedy=Remedy(
        "Keep fewer old versions; those that are over are removed with the next run.",
        "tfserving_models[].keep",
        "low",
        restart=False,
    ),
    refs=("https://man7.org/linux/man-pages/man3/statvfs.3.html",),
    judge=judge,
)
