# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus takes for a fleet: series, samples, memory, disk and time of rules, beside what is planned for it.

A replayed scrape: one server of this machine is every target of a fleet of large hosts, and Debian's Prometheus scrapes
it with the collection's own jobs, targets and rules. How well samples compress is measured on blocks of two hours that
promtool makes of the same pages.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import figures, prometheus_figures
from support.collection import part, support
from support.prometheus_figures import Reading
from support.replayed_pages import Replay, replayed
from support.scraped_pages import Page, Shape
from support.watched_fleet import WatchedFleet, kinds

BLOCK_S = 7200
# Of a page of many series alike, as many lines tell how well they compress.
BLOCK_SERIES = 1500
START_S = 120
MIB = 1 << 20
DAY_S = 86_400


@dataclass(frozen=True)
class Measured:
    """Readings before the first page, after the first rounds and at the end, and what was seen besides."""

    empty: Reading
    early: Reading
    late: Reading
    wal_bytes: int
    head_chunk_bytes: int
    scraped: str
    alerts: str
    jobs: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200, help="serving hosts of 64 CPUs, 4 GPUs and 2 instances")
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--models", type=int, default=1, help="models of each instance")
    parser.add_argument("--interval", type=float, default=15, help="seconds between scrapes, and between evaluations")
    parser.add_argument("--scrapes", type=int, default=20, help="scrapes of every target")
    options = parser.parse_args()
    print(figures.machine(), flush=True)
    # Series are made in the first round, targets are spread over an interval, and the blocks come last.
    length = (options.scrapes + 4) * options.interval / 60 + 2
    print(figures.takes(f"{length:.0f} minutes"), flush=True)
    raise_limit()
    prometheuses, ports = support("prometheuses"), support("ports")
    shape = Shape(models=options.models)
    fleet = WatchedFleet(shape, options.hosts, options.gateways, ports.free_port())
    pages = fleet.pages(options.interval, time.time())
    print(
        f"Prometheus {prometheuses.TRIXIE}; {options.hosts} hosts, {options.gateways} gateways, {len(pages)} targets,"
        f" every {options.interval:g} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="tfserving-monitoring-") as folder:
        found = measured(
            Path(folder), fleet, options.interval, options.scrapes, prometheuses.program(prometheuses.TRIXIE)
        )
        blocks = compressed(Path(folder), kinds(pages), options.interval)
    print(report(fleet, found, blocks, options.interval))
    return 0


def raise_limit() -> None:
    """Allow as many open files as this user may have: each target listens, and keeps a connection."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measured(folder: Path, fleet: WatchedFleet, interval_s: float, scrapes: int, program: str) -> Measured:
    """Scrape the fleet for so many rounds and return the figures."""
    fleet.lay_down(folder, interval_s)
    patience = START_S + interval_s * (scrapes + 20)
    with replayed(fleet.pages(interval_s, time.time())) as replay, running(folder, fleet, program) as server:
        empty = prometheus_figures.first(server, START_S)
        wait(replay, server, min(3, scrapes - 1), patience)
        early, wal = prometheus_figures.read(server), size(folder / "data/wal")
        wait(replay, server, scrapes, patience)
        late = prometheus_figures.read(server)
        return Measured(
            empty,
            early,
            late,
            size(folder / "data/wal") - wal,
            size(folder / "data/chunks_head"),
            prometheus_figures.scrape_seconds(server),
            prometheus_figures.alerts(server),
            prometheus_figures.samples_by_job(server),
        )


@contextmanager
def running(folder: Path, fleet: WatchedFleet, program: str) -> Iterator[str]:
    """Run Prometheus over what was laid down, and give its address."""
    address = f"{fleet.watcher_address}:{fleet.prometheus_port}"
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address={address}", "--log.level=warn"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            yield f"http://{address}"
        finally:
            server.terminate()
            server.wait(START_S)
            lines = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
            said = [each for each in lines if "OS signal" not in each]
            if said:
                print("\n".join(["Prometheus says:", *said[:10]]), flush=True)


def wait(replay: Replay, server: str, scrapes: int, patience: float) -> None:
    """Wait until every target has been scraped so often, and every group of rules was evaluated twice."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if replay.least() >= scrapes and prometheus_figures.read(server).least_iterations >= 2:
            return
        time.sleep(1)
    raise SystemExit(f"no {scrapes} scrapes of every target within {patience:.0f} s: the least is {replay.least()}")


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def compressed(folder: Path, pages: Mapping[str, Page], interval_s: float) -> dict[str, tuple[float, float]]:
    """Return bytes a sample of chunks and of the index, of a block of two hours of each kind of page."""
    promtools = support("promtools")
    program = str(promtools.program(promtools.TRIXIE))
    return {job: block(folder / job, page, interval_s, program) for job, page in pages.items()}


def block(folder: Path, page: Page, interval_s: float, program: str) -> tuple[float, float]:
    """Make a block of two hours and return its bytes a sample: of chunks and of all else."""
    data = folder / "data"
    data.mkdir(parents=True)
    some = Page(page.series[:: max(1, len(page.series) // BLOCK_SERIES)], interval_s)
    begin = (int(time.time()) // BLOCK_S - 2) * BLOCK_S
    samples = 0
    with (folder / "samples").open("w", encoding="utf-8") as file:
        for number in range(int(BLOCK_S / interval_s)):
            at = begin + number * interval_s
            lines = [f"{each.text} {value} {at:.3f}\n" for each, value in some.values(number)]
            file.writelines(lines)
            samples += len(lines)
        file.write("# EOF\n")
    command = [program, "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples"), str(data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    chunks = sum(size(each) for each in data.glob("*/chunks"))
    return chunks / samples, (size(data) - chunks) / samples


def report(fleet: WatchedFleet, found: Measured, blocks: Mapping[str, tuple[float, float]], interval_s: float) -> str:
    """Return the tables: what ran, the figures beside those planned, rules and scrapes."""
    late = found.late
    rows = [
        (f"{name}", f"{mine:,.1f}", f"{plan:,.1f}", f"{mine / plan:.2f}")
        for name, mine, plan in compare(fleet, found, blocks, interval_s)
    ]
    seconds, rest = late.at - found.early.at, late.series - sum(found.jobs.values())
    parts = [
        figures.table("measured and planned", ("figure", "measured", "planned", "ratio"), rows),
        figures.table(
            "a block of two hours, bytes a sample",
            ("job", "chunks", "index and the rest"),
            [(job, f"{chunks:.2f}", f"{rest:.2f}") for job, (chunks, rest) in blocks.items()],
        ),
        figures.table(
            "series",
            ("job", "series"),
            [*((job, f"{value:,.0f}") for job, value in found.jobs.items()), ("rules, and of scrapes", f"{rest:,.0f}")],
        ),
        figures.table(
            "rules", ("group", "seconds"), [(name, f"{value:.3f}") for name, value in sorted(late.rules.items())]
        ),
        f"\nscrapes, seconds at most, with those of the replaying server: {found.scraped}",
        f"Prometheus used {(late.cpu_s - found.early.cpu_s) / seconds:.2f} of a core over {seconds:.0f} s;"
        f" {late.missed:.0f} evaluations were missed; alerts: {found.alerts}",
        f"head: {late.chunks:,.0f} chunks in memory, {found.head_chunk_bytes / MIB:.1f} MiB of full ones on disk;"
        f" log: {found.wal_bytes / MIB:.1f} MiB in {seconds:.0f} s",
        "Memory is that of a head of this length: chunks of up to three hours, most of them on disk, come on top.",
        "A day is the rate of samples with the bytes of blocks of two hours; merged blocks have less index.",
    ]
    return "\n".join(parts)


def compare(
    fleet: WatchedFleet, found: Measured, blocks: Mapping[str, tuple[float, float]], interval_s: float
) -> list[tuple[str, float, float]]:
    """Return each figure as measured and as planned."""
    sizes = part("plugin_utils.monitoring.sizes")
    early, late, planned = found.early, found.late, fleet.plan["sizes"]
    faster = sizes.SCRAPE_S / interval_s
    samples = late.samples - early.samples
    rate = samples / (late.at - early.at)
    each, logged = sample_bytes(fleet, blocks), found.wal_bytes / samples
    grown = (late.resident - found.empty.resident) / late.series
    return [
        ("series", late.series, planned["series"]),
        ("samples a second", rate, planned["samples_per_second"] * faster),
        ("bytes a sample in blocks", each, sizes.SAMPLE_BYTES),
        ("MiB of blocks a day", rate * DAY_S * each / MIB, planned["disk_mb_a_day"] * faster),
        ("bytes a sample in the log", logged, sizes.LOG_SAMPLE_BYTES),
        ("MiB of log for three hours", rate * sizes.LOG_S * logged / MIB, planned_log(planned) * faster),
        ("MiB resident", late.resident / MIB, planned["memory_mb"]),
        ("MiB resident before the first page", found.empty.resident / MIB, sizes.PROCESS_MB),
        ("KiB a series beyond that", grown / 1024, sizes.SERIES_BYTES / 1024),
    ]  # fmt: skip


def planned_log(planned: Mapping[str, float]) -> float:
    """Return the MiB that are planned for the log: what the disk has beyond the blocks."""
    return planned["disk_mb"] * part("plugin_utils.monitoring.sizes").DISK_SHARE - planned["retention_mb"]


def sample_bytes(fleet: WatchedFleet, blocks: Mapping[str, tuple[float, float]]) -> float:
    """Return the bytes a sample of the whole fleet: each job by its share of the series."""
    weights = fleet.series_by_job()
    return sum(weights[job] * sum(blocks[job]) for job in weights) / sum(weights.values())


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    sys.exit(main())
