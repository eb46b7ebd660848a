# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How much memory and disk Prometheus takes for a fleet, and whether a host has that."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .schema import Sizes, WatchedHost

SCRAPE_S = 15
DAY_S = 86_400

# Series, counted on pages of the node exporters of Debian 12 and 13 with our collectors, on pages of the server and of
# HAProxy, and by what the server registers (labels and buckets of each metric); rounded up.
HOST, CPU = 750, 30
INSTANCE, MODEL = 500, 560
GPU, COLLECTED = 60, 60
# What the rules record of an instance: its buckets, and some fifty figures.
RECORDED = 140
# HAProxy has a backend for each model and protocol. Roll-outs name some servers twice.
GATEWAY, BACKEND, SERVER = 250, 80, 100
WATCHER = 1500
# Hosts that serve nothing have no plan that tells their CPUs.
OTHER_CPUS = 32

# "Prometheus stores an average of only 1-2 bytes per sample" (prometheus.io/docs/prometheus/latest/storage).
SAMPLE_BYTES = 2
# The write-ahead log keeps at least two hours of raw samples, three as a rule (the same page); 16 bytes are a sample's
# time and value, and Snappy halves them.
LOG_S, LOG_SAMPLE_BYTES = 3 * 3600, 8
# The size is a flag of Prometheus, which restarts for another one: it grows in steps, so that a new host is no restart.
LEAST_MB, STEP = 512, 1.25
# "at most 80-85 % of your allocated Prometheus disk space" (the same page).
DISK_SHARE = 0.85
# 8 KiB is what a series in memory takes with its labels, its index and the chunks of three hours, garbage included; the
# process itself, its queries and its log take the rest.
SERIES_BYTES, PROCESS_MB = 8 << 10, 300
MIB = 1 << 20


def series(serving: Mapping[str, WatchedHost], others: int, gateways: int, watchers: int) -> tuple[int, str]:
    """Return how many series the fleet has, and why.

    :param others: hosts that are watched and serve nothing.
    """
    instances = [each for host in serving.values() for each in host["instances"]]
    models = sum(len(each["models"]) for each in instances)
    hosts, gpus = len(serving) + others, sum(each["gpus"] for each in serving.values())
    cpus = sum(each["cpus"] for each in serving.values()) + others * OTHER_CPUS
    names = {model for each in instances for model in each["models"]}
    # Each model is a server of its own for HAProxy, over REST and over gRPC.
    parts = (
        (hosts, HOST, "hosts"),
        (cpus, CPU, "CPUs"),
        (len(instances), INSTANCE + COLLECTED + RECORDED, "instances"),
        (models, MODEL, "models of instances"),
        (gpus, GPU, "GPUs"),
        (gateways, GATEWAY, "gateways"),
        (gateways * len(names) * 2, BACKEND, "backends of gateways"),
        (gateways * models * 2, SERVER, "servers of gateways"),
        (watchers, WATCHER, "monitoring hosts"),
    )
    shown = " + ".join(f"{count:,} {what} x {each}" for count, each, what in parts if count)
    return sum(count * each for count, each, _what in parts), shown


def sizes(found: int, formula: str, days: int, wished_mb: int) -> Sizes:
    """Return what so many series take, kept for so many days.

    :param wished_mb: ``monitoring_disk_mb``, 0 for what is needed.
    """
    rate = found / SCRAPE_S
    day_mb = math.ceil(rate * DAY_S * SAMPLE_BYTES / MIB)
    retention = wished_mb or _stepped(day_mb * days)
    log_mb = math.ceil(rate * LOG_S * LOG_SAMPLE_BYTES / MIB)
    return {
        "series": found,
        "samples_per_second": math.ceil(rate),
        "disk_mb_a_day": day_mb,
        "retention_mb": retention,
        "disk_mb": math.ceil((retention + log_mb) / DISK_SHARE),
        "memory_mb": PROCESS_MB + math.ceil(found * SERIES_BYTES / MIB),
        "reasons": {
            "series": formula,
            "samples_per_second": f"every series once in {SCRAPE_S} s",
            "disk_mb_a_day": f"{SAMPLE_BYTES} bytes a sample, as Prometheus's documentation on storage has it",
            "retention_mb": "monitoring_disk_mb"
            if wished_mb
            else f"{day_mb:,} MB a day for {days} days, in steps of a quarter",
            "disk_mb": f"retention_mb and {log_mb:,} MB of write-ahead log in {DISK_SHARE:.0%} of the file system",
            "memory_mb": f"{SERIES_BYTES >> 10} KiB a series, and {PROCESS_MB} MB",
        },
    }


def _days_of(found: Sizes, days: int, disk_mb: int) -> int:
    """Return for how many days the disk suffices, 0 for none."""
    log_mb = math.ceil(found["disk_mb"] * DISK_SHARE) - found["retention_mb"]
    fits = (
        each
        for each in range(days - 1, 0, -1)
        if (_stepped(found["disk_mb_a_day"] * each) + log_mb) / DISK_SHARE <= disk_mb
    )
    return next(fits, 0)


def _stepped(needed_mb: int) -> int:
    steps = math.ceil(math.log(max(needed_mb, LEAST_MB) / LEAST_MB, STEP))
    return math.ceil(LEAST_MB * STEP**steps)


def check(found: Sizes, days: int, disk_mb: int, memory_mb: int, folder: str) -> None:
    """Refuse a fleet that is too large for a host.

    :param disk_mb: what the file system of ``folder`` has free, and what Prometheus has there already; 0 if unknown.
    :param memory_mb: the host's memory; 0 if unknown.
    """
    if disk_mb and found["disk_mb"] > disk_mb:
        usual = _days_of(found, days, disk_mb)
        remedy = f"set monitoring_retention_days to {usual} or less" if usual else "give it a larger one"
        problem = (
            f"{days} days of {found['series']:,} series take {found['disk_mb']:,} MB, and {folder} has {disk_mb:,} MB"
        )
        if found["reasons"]["retention_mb"] == "monitoring_disk_mb":
            limit = math.floor(disk_mb * DISK_SHARE) - (
                math.ceil(found["disk_mb"] * DISK_SHARE) - found["retention_mb"]
            )
            problem = f"is {found['retention_mb']:,} and needs {found['disk_mb']:,} MB, and {folder} has {disk_mb:,} MB"
            raise WishError(
                "monitoring_disk_mb", problem, f"set it to {max(0, limit)} or less, or give it a larger one"
            )
        raise WishError("monitoring_retention_days", problem, remedy)
    if memory_mb and found["memory_mb"] > memory_mb:
        problem = (
            f"{found['series']:,} series take {found['memory_mb']:,} MB of memory, and this host has {memory_mb:,} MB"
        )
        raise WishError("groups['tfserving_monitoring']", problem, "choose a host with more")


def text(found: Sizes, host: str) -> str:
    """Return the sizes for people, each with its reason."""
    rows = [
        ("series", f"{found['series']:,}", "series"),
        ("samples a second", f"{found['samples_per_second']:,}", "samples_per_second"),
        ("disk a day", f"{found['disk_mb_a_day']:,} MB", "disk_mb_a_day"),
        ("kept at most", f"{found['retention_mb']:,} MB", "retention_mb"),
        ("disk", f"{found['disk_mb']:,} MB", "disk_mb"),
        ("memory", f"{found['memory_mb']:,} MB", "memory_mb"),
    ]
    lines = [f"  {name:18}{figure:>14}  {found['reasons'][key]}" for name, figure, key in rows]
    return "\n".join([f"Prometheus on {host} takes", *lines])
