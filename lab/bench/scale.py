# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run costs the controller by the size of the fleet, from one to hundreds of replayed hosts, and for 1,000."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support import figures, lab_host, replayed_fleet
from support.replayed_fleet import Cost

FLEET = 1_000
CORES = 8


@dataclass(frozen=True)
class Case:
    """A run to measure, and its targets of issue 14: CPU seconds a host, and the largest size's to the smallest's."""

    title: str
    playbook: str
    sizes: tuple[int, ...]
    cpu: float
    ratio: float
    tasks: int
    calls: int
    minutes: float


CASES = (
    Case("site.yml without a change", "site.yml", (10, 25, 50), 1.5, 1.15, 40, 15, 5),
    Case("plan.yml", "playbooks/plan.yml", (50, 100, 200), 0.6, 1.15, 40, 15, 5),
)
MEMORY_TARGET = 0.25


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two small sizes: whether everything runs")
    quick = parser.parse_args().quick
    lab_host.ready()
    print(figures.machine(), flush=True)
    print(figures.takes("2 minutes" if quick else "10 minutes"), flush=True)
    lab_host.ansible("ansible-playbook", "site.yml", "-l", lab_host.HOST)  # what this changes, the recording need not
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="fleet-answers-") as folder:
            replayed_fleet.keep_answers(Path(folder), case.playbook)
            sizes = (2, 4) if quick else case.sizes
            # The smallest one alone tells what a run takes without hosts to speak of.
            costs = [replayed_fleet.play(Path(folder), size, case.playbook) for size in (1, *sizes)]
        print(report(case, costs), flush=True)
    return 0


def report(case: Case, costs: Sequence[Cost]) -> str:
    """Return a table of the sizes, and what follows for a large fleet."""
    alone, *sizes = costs
    rows = [
        (
            f"{each.hosts} hosts",
            f"{each.cpu / each.hosts:.2f}",
            f"{each.main / each.hosts:.2f}",
            f"{each.peak_mib:.0f}",
            each.tasks,
            f"{each.calls:g}",
        )
        for each in sizes
    ]
    first, last = sizes[0], sizes[-1]
    growth = (last.peak_mib - first.peak_mib) / (last.hosts - first.hosts)
    ratio = marginal(first, last) / marginal(alone, first)
    targets = [
        ("CPU s a host, largest fleet", f"{last.cpu / last.hosts:.2f}", at_most(last.cpu / last.hosts, case.cpu)),
        ("a further host: largest / smallest", f"{ratio:.2f}", at_most(ratio, case.ratio)),
        ("main process, MiB a host", f"{growth:.2f}", at_most(growth, MEMORY_TARGET)),
        ("tasks a host", last.tasks, at_most(last.tasks, case.tasks)),
        ("module calls a host", f"{last.calls:g}", at_most(last.calls, case.calls)),
        *law(case, alone, last),
    ]
    header = ("", "CPU s a host", "of it main", "peak MiB of main", "tasks a host", "calls a host")
    return "\n".join(
        [
            figures.table(f"{case.title}, replayed hosts, {replayed_fleet.FORKS} forks", header, rows),
            figures.table("", ("", "figure", "target"), targets),
        ]
    )


def law(case: Case, alone: Cost, last: Cost) -> list[tuple[str, str, str]]:
    """Return the minutes for a large fleet: in slices, one process a core, and in one process.

    A run costs what it costs for one host, and for each further one what the measured fleet's hosts cost on average. A
    slice has a core for all of its processes. In one process the main process is what all others wait for, and each of
    its forks costs more with its memory, which the measured sizes show only in part: take that figure as a lower bound.
    """
    slice_of = FLEET // CORES
    sliced = (alone.cpu + marginal(alone, last) * (slice_of - 1)) / 60
    main_share = (last.main - alone.main) / (last.hosts - alone.hosts)
    whole = max(main_share * FLEET, marginal(alone, last) * FLEET / CORES) / 60
    derived = f"{alone.cpu:.1f} s + {slice_of - 1} x {marginal(alone, last):.2f} s a slice of {slice_of}"
    return [
        (f"minutes for {FLEET:,} hosts on {CORES} cores, sliced", f"{sliced:.1f}", at_most(sliced, case.minutes)),
        ("  derived from", derived, ""),
        (f"minutes for {FLEET:,} hosts, one process, at least", f"{whole:.1f}", ""),
    ]


def marginal(fewer: Cost, more: Cost) -> float:
    """Return the CPU seconds of each host by which one run was larger than another."""
    return (more.cpu - fewer.cpu) / (more.hosts - fewer.hosts)


def at_most(value: float, target: float) -> str:
    return figures.verdict(value, at_most=target)


if __name__ == "__main__":
    sys.exit(main())
