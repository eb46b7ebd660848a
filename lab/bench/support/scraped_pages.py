# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages of a fleet as Prometheus scrapes them: every series with its labels, and values that move as real ones do.

Names are those of the recorded pages and of the tables. How many series a name has was counted on pages of the node
exporter and of HAProxy, and is read from the collector's and the server's sources.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from support.collection import PAGES, part

NODE_PAGE, GATEWAY_PAGE, ALERTMANAGER_PAGE = "node_exporter-1.9.0", "haproxy-3.0.11", "alertmanager-0.28.1"

# What the recorded page of the node exporter lacks, as it was made on a virtual machine with fewer collectors: clocks,
# sensors, units, and the memory of each node. Names from the exporter's collectors of those names.
NUMA = (
    *("Active", "Active_anon", "Active_file", "AnonHugePages", "AnonPages", "Bounce", "Dirty", "FileHugePages"),
    *("FilePages", "FilePmdMapped", "HugePages_Free", "HugePages_Surp", "HugePages_Total", "Inactive"),
    *("Inactive_anon", "Inactive_file", "KReclaimable", "KernelStack", "Mapped", "MemFree", "MemTotal"),
    *("MemUsed", "Mlocked", "NFS_Unstable", "PageTables", "SReclaimable", "SUnreclaim", "SecPageTables", "Shmem"),
    *("ShmemHugePages", "ShmemPmdMapped", "Slab", "SwapCached", "Unevictable", "Writeback", "WritebackTmp"),
    *("interleave_hit_total", "local_node_total", "numa_foreign_total", "numa_hit_total", "numa_miss_total"),
    "other_node_total",
)
UNSEEN = (
    *(f"node_memory_numa_{each}" for each in NUMA),
    *(f"node_cpu_{each}_hertz" for each in ("scaling_frequency", "scaling_frequency_max", "scaling_frequency_min")),
    *("node_cpu_frequency_max_hertz", "node_cpu_frequency_min_hertz", "node_cpu_scaling_governor"),
    *("node_cpu_core_throttles_total", "node_cpu_package_throttles_total"),
    *(f"node_schedstat_{each}_total" for each in ("running_seconds", "waiting_seconds", "timeslices")),
    *("node_processes_max_processes", "node_processes_max_threads", "node_processes_pids", "node_processes_threads"),
    *("node_processes_state", "node_processes_threads_state"),
    *("node_systemd_unit_state", "node_systemd_units", "node_systemd_system_running", "node_systemd_version"),
    *("node_systemd_timer_last_trigger_seconds", "node_thermal_zone_temp", "node_cooling_device_cur_state"),
    *(f"node_hwmon_temp_{each}celsius" for each in ("", "crit_", "max_", "crit_alarm_")),
    *("node_hwmon_sensor_label", "node_hwmon_chip_names"),
    *(f"node_edac_{each}_errors_total" for each in ("correctable", "uncorrectable")),
    *(f"node_edac_csrow_{each}_errors_total" for each in ("correctable", "uncorrectable")),
    *("node_md_disks", "node_md_disks_required", "node_md_blocks", "node_md_blocks_synced", "node_md_state"),
)
# The exporter's own figures, which it is told to leave out, and the collector's, which come from its table.
_NOT_SHOWN = re.compile(r"go_|process_|tfserving_|node_arp_|node_entropy_|node_selinux_|node_udp_queues")

MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
STATES = ("activating", "active", "deactivating", "failed", "inactive")
CHECKS = (
    *("HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK"),
    *("L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK"),
)
UP_OR_NOT = ("DOWN", "UP")
SERVER_STATES = (*UP_OR_NOT, "MAINT", "DRAIN", "NOLB")
CODES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
# Limits of histograms (tensorflow/serving, util.cc and batching_util.h; tensorflow, metrics.cc and loader.cc): first,
# factor, and how many are finite.
LIMITS = {
    "queuing_latency": (100, 1.2, 52),
    "request_example_counts": (1, 2, 15),
    "padding_size": (1, 2, 14),
    "batch_size": (1, 2, 14),
    "graph_run_time_usecs_histogram": (1000, 2, 20),
    "graph_pending_queue_length_histogram": (1, 1.5, 30),
    "tensor_bytes": (1, 4, 14),
    "read_durations": (1000, 1.5, 41),
}
LATENCY = (10, 1.8, 33)

# How a value moves, by a word in its name or labels; the first that fits counts, and what none fits stays as it is.
# It is a fleet without trouble, whose alerts are silent.
_COURSES = (
    ("now", re.compile(r"mtime|node_time_seconds")),
    ("later", re.compile(r"expiry")),
    ("epoch", re.compile(r"timestamp|boot_time|start_time|last_trigger")),
    ("room", re.compile(r"filesystem_size|filesystem_files{")),
    ("large", re.compile(r"_limit|Total_bytes|memory_total|size_bytes|maximum")),
    (
        "one",
        re.compile(r'success\b|_open{|running{|match|_info|_up{|"UP"|AVAILABLE|"active"|"L7OK"|_width|persistence'),
    ),
    ("none", re.compile(r"INVALID|DEADLINE|4xx|5xx|1xx|other|_queue|offset|growth|collector_duration|remap")),
    ("none", re.compile(r"(?i)err|drop|overflow|cookie|timeout|fail|denied|warning|abort|fifo|frame|colls|carrier")),
    ("none", re.compile(r"(?i)compress|squeez|throttl|oom|discard|_pps_|retr|redisp|restart|loads|events|stopping")),
    ("none", re.compile(r"guest|irq|steal|nice|state=|readonly|blocked|swap|hwmon_.*alarm|foreign|xid|clock_event")),
    ("still", re.compile(r"load_attempt|load_latency|warmup|saved_model|graph_build|graph_optim|xla|Icmp|Lite|6_")),
    ("still", re.compile(r"limit|max|_min|crit|Huge|Total|planned|_gpus|_size{")),
    ("clock", re.compile(r"idle|iowait|seconds_total|_age|uptime|last_change")),
    ("count", re.compile(r"_total|netstat_[^_]+_(?!Curr)|vmstat|_count|_runs|_sum|usecs{|:request_|run_count|padding")),
    ("wave", re.compile(r"memory|Mem|load\d|frequency|hertz|celsius|watts|ratio|inuse|resident|threads|pids|temp")),
    ("wave", re.compile(r"current|average|duration|avail|free|alloc|running|rate|open_files|entries")),
)
_STILL = {"one": 1, "none": 0, "epoch": 1.7e9, "later": 4e9, "room": 4e10, "large": 1e12}

_FORMS = {"clock": "{:.2f}".format, "six": "{:g}".format, "count": lambda value: str(int(value))}


@dataclass(frozen=True)
class Shape:
    """A serving host as far as its pages depend on it; without instances it is any other host."""

    cpus: int = 64
    gpus: int = 4
    instances: tuple[str, ...] = ("ranker", "embedder")
    models: int = 1

    def models_of(self, instance: str) -> list[str]:
        """Return the models of an instance; each instance has its own."""
        return [f"{instance}-{number}" for number in range(self.models)]


class Series(NamedTuple):
    """A series: its text on the page, how it moves, a second's growth or its size, and whether it moves with the one
    before it, as the buckets of a histogram do."""

    text: str
    course: str
    size: float
    follows: bool = False


class Page:
    """A page, and its text at each scrape."""

    def __init__(self, series: Sequence[Series], interval_s: float, started: float = 1.8e9) -> None:
        self.series, self.interval_s, self.started = series, interval_s, started
        self.heads = list(_heads(series))
        # Of programs that have run for a day: values have the digits that they have in earnest.
        self.first = 86_400 / interval_s

    def text(self, number: int) -> str:
        """Return the page of a scrape."""
        return "".join(f"{head}{each.text} {value}\n" for head, (each, value) in zip(self.heads, self.values(number)))

    def values(self, number: int) -> Iterator[tuple[Series, str]]:
        """Yield each series with its value at a scrape. A later scrape never has a smaller count."""
        drawn = random.Random(number)
        draw = 0.0
        for each in self.series:
            if each.course == "still":
                yield each, f"{each.size:.15g}"
                continue
            if not each.follows:
                draw = drawn.random()
            yield each, self._moved(each, number, draw)

    def _moved(self, each: Series, number: int, draw: float) -> str:
        if each.course == "now":
            return f"{self.started + number * self.interval_s:.0f}"
        if each.course == "wave":
            moved = each.size * (0.9 + 0.2 * draw)
            return f"{moved:.0f}" if each.size > 1000 else f"{moved:.3f}"
        seconds = (self.first + number + 0.8 * draw) * self.interval_s
        # The server prints sums with six digits.
        return _FORMS[each.course](each.size * seconds)


def _heads(series: Sequence[Series]) -> Iterator[str]:
    """Yield the line with its type before the first series of each name, nothing before the others."""
    seen: set[str] = set()
    for each in series:
        name = each.text.split("{")[0]
        kind = "counter" if name.endswith("_total") else "gauge"
        if 'le="' in each.text:
            name, kind = name[: -len("_bucket")], "histogram"
            seen |= {f"{name}_sum", f"{name}_count"}
        yield "" if name in seen else f"# TYPE {name} {kind}\n"
        seen.add(name)


def course(text: str) -> tuple[str, float]:
    """Return how a series moves, and by how much: never two in step with each other."""
    spread = random.Random(text).random()
    found = next((how for how, words in _COURSES if words.search(text)), "still")
    if found in _STILL:
        return "still", _STILL[found]
    if found == "wave":
        return found, (1 + spread) * (1e10 if "bytes" in text or "files" in text else 50)
    if found == "still":
        return found, float(round(1000 * spread))
    return found, spread if found == "clock" else (1 + spread) * (1e6 if "bytes_total" in text else 100)


def braced(**labels: object) -> str:
    """Return labels as a page has them."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def combined(**labels: Sequence[object]) -> list[str]:
    """Return all combinations of labels."""
    return [braced(**dict(zip(labels, values))) for values in product(*labels.values())]


def _plain(name: str, labels: Sequence[str]) -> Iterator[Series]:
    for each in labels:
        moves, size = course(f"{name}{{{each}}}")
        yield Series(f"{name}{{{each}}}" if each else name, moves, size)


def names(page: str) -> list[str]:
    """Return the names on a recorded page."""
    return (PAGES / f"{page}.txt").read_text(encoding="utf-8").split()


def node(shape: Shape) -> list[Series]:
    """Return the page of a host's node exporter, with what the collector wrote for it."""
    families = _node_labels(shape)
    found: list[Series] = []
    for name in (*names(NODE_PAGE), *UNSEEN):
        if not _NOT_SHOWN.match(name):
            labels = next((labels for words, labels in families if re.match(words, name)), [""])
            found += _plain(name, labels)
    return [*found, *collector(shape)]


def _node_labels(shape: Shape) -> list[tuple[str, list[str]]]:
    cpus, cores = range(shape.cpus), range(shape.cpus // 2)
    sensors = combined(chip=["coretemp_0", "coretemp_1"], sensor=[f"temp{n}" for n in range(1, shape.cpus // 4 + 2)])
    collectors = part("plugin_utils.monitoring.commands").COLLECTORS
    return [
        ("node_cpu_seconds", combined(cpu=cpus, mode=MODES)),
        ("node_cpu_guest", combined(cpu=cpus, mode=("user", "nice"))),
        ("node_cpu_scaling_governor", combined(cpu=cpus, governor=("performance", "powersave"))),
        ("node_cpu_core", combined(core=cores, package=(0,))),
        ("node_cpu_package", combined(package=(0, 1))),
        ("node_cpu_|node_softnet_|node_schedstat_", combined(cpu=cpus)),
        ("node_hwmon_chip", combined(chip=("coretemp_0", "coretemp_1", "nvme_0", "nvme_1"))),
        ("node_hwmon_", [*sensors, *combined(chip=("nvme_0", "nvme_1"), sensor=("temp1", "temp2"))]),
        ("node_thermal_zone|node_cooling", combined(type=("x86_pkg_temp", "acpitz"), zone=(0, 1))),
        ("node_disk_", combined(device=("nvme0n1", "nvme1n1", "md0"))),
        ("node_md_", combined(device=("md0",))),
        ("node_filesystem_", [_mount(each) for each in ("/", "/boot/efi", "/run", "/run/lock", "/var/lib/tfserving")]),
        ("node_network_", combined(device=("lo", "eth0", "eth1", "bond0"))),
        ("node_memory_numa", combined(node=(0, 1))),
        ("node_scrape_collector", combined(collector=collectors)),
        ("node_systemd_unit_state", combined(name=_units(shape), state=STATES, type=("simple",))),
        ("node_systemd_units", combined(state=STATES)),
        ("node_systemd_timer", combined(name=("tfserving-collector.timer",))),
        ("node_processes_(threads_)?state", combined(state="DIRSZ")),
        ("node_edac_csrow", combined(controller=range(8), csrow=("unknown",))),
        ("node_edac", combined(controller=range(8))),
        ("node_time_clocksource", combined(clocksource=("tsc",), device=(0,))),
        ("node_time_zone", combined(time_zone=("UTC",))),
        ("node_textfile_mtime", combined(file=("/var/lib/prometheus/node-exporter/tfserving.prom",))),
        ("promhttp_metric_handler_errors", combined(cause=("encoding", "gathering"))),
    ]


def _mount(path: str) -> str:
    return braced(device="/dev/md0", fstype="ext4", mountpoint=path)


def _units(shape: Shape) -> list[str]:
    own = [f"tfserving@{each}.service" for each in shape.instances]
    shared = ("tfserving-collector.service", "tfserving-collector.timer", "tfserving-gate.service", "chrony.service")
    return [*own, *shared, "prometheus-node-exporter.service", "nvidia-persistenced.service"]


# What the collector tells of hosts that serve nothing.
_EVERYWHERE = ("tfserving_collector_", "tfserving_certificate_", "tfserving_apt_key_")


def collector(shape: Shape) -> list[Series]:
    """Return what the collector writes for a host."""
    metrics = part("module_utils.collector.metrics").METRICS
    own: dict[str, Sequence[object]] = {
        "part": [each.name for each in part("module_utils.collector.__main__").PARTS],
        "resource": ("cpu", "io", "memory"),
        "event": part("module_utils.collector.cgroup").EVENTS,
        "serving_instance": shape.instances,
        "gpu": range(shape.gpus),
        "reason": list(part("module_utils.collector.gpus").CLOCK_EVENTS.values()),
        "kind": ("corrected", "uncorrectable"),
        "path": ("/etc/tfserving/tls/server.crt",),
    }
    found: list[Series] = []
    for name, metric in metrics.items():
        if not shape.instances and not name.startswith(_EVERYWHERE):
            continue
        if "model" in metric.labels and "serving_instance" in metric.labels:
            labels = _models(shape, "state" in metric.labels)
        elif name in ("tfserving_gpu_instance_info", "tfserving_gate_info") or name.startswith("tfserving_rollout"):
            # A GPU belongs to one instance, a gate is open, and no roll-out is under way.
            labels = combined(gpu=own["gpu"], serving_instance=shape.instances[:1]) if "gpu_" in name else []
        else:
            labels = combined(**{label: own.get(label, ("a",)) for label in metric.labels})
        found += _plain(name, labels)
    return found


def _models(shape: Shape, state: bool) -> list[str]:
    end: dict[str, object] = {"version": 7, **({"state": "AVAILABLE"} if state else {})}
    return [
        braced(serving_instance=instance, model=model, **end)
        for instance in shape.instances
        for model in shape.models_of(instance)
    ]


def server(models: Sequence[str]) -> list[Series]:
    """Return the page of a server: of what its table has, all but batching within a graph, which needs such a model."""
    found: list[Series] = []
    for name, row in part("plugin_utils.tables.read").table("server_metrics").items():
        if ":serving:batching:" in name or "mlmd" in name or "request_log" in name or "pjrt" in name:
            continue
        labels = _server_labels(name, row["labels"], models)
        found += _histograms(name, labels) if row["type"] == "histogram" else _plain(name, labels)
    return found


def _server_labels(name: str, wanted: Sequence[str], models: Sequence[str]) -> list[str]:
    if "API" in wanted:
        key = wanted[2]
        kinds = (("Predict", "GRPC"), ("predict", "REST"), ("", "REST"))
        chosen = kinds if key == "entrypoint" else (("Predict", "TF1"), ("predict", "TF1"))
        return [braced(model_name=model, API=api, **{key: end}) for model in models for api, end in chosen]
    known: dict[str, Sequence[object]] = {
        "model_name": models,
        "model": [f"{model}:7" for model in models],
        # A server keeps the series of a version that it has replaced.
        "model_path": [f"/var/lib/tfserving/models/{model}/{version}" for model in models for version in (7, 8)],
        "thread_pool_name": [f"{model}_batch_threads" for model in models],
        "status": ("OK", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED") if name.endswith("request_count") else ("success",),
        "stage": ("restore_graph", "init_graph"),
        "execution_batch_size": (1, 2, 4, 8, 16, 32),
        "kind": ("Placer", "Grappler", "GraphOptimizationPass"),
        "name": [f"pass_{number}" for number in range(12)],
    }
    return combined(**{label: known.get(label, ("a",)) for label in wanted})


def _histograms(name: str, labels: Sequence[str]) -> Iterator[Series]:
    first, factor, finite = next((limits for word, limits in LIMITS.items() if word in name), LATENCY)
    edges = [f"{first * factor**power:g}" for power in range(finite)]
    mean = 20_000 if "latency" in name or "usecs" in name or "durations" in name else 2
    for each in labels:
        moves, size = course(f"{name}_count{each}")
        for place, edge in enumerate((*edges, "+Inf")):
            # Nothing is as fast as the lowest fifth, and all is faster than the upper half.
            share = min(1.0, max(0.0, 4 * place / finite - 0.8))
            text = f'{name}_bucket{{{each}{"," if each else ""}le="{edge}"}}'
            yield Series(text, moves if share else "still", share * size, follows=4 * (place - 1) > 0.8 * finite)
        yield Series(f"{name}_sum{{{each}}}", "six" if moves == "count" else moves, size * mean, follows=True)
        yield Series(f"{name}_count{{{each}}}", moves, size, follows=True)


def gateway(hosts: Sequence[str], shape: Shape) -> list[Series]:
    """Return the page of HAProxy: a backend for each model and protocol, and a server in it for each host."""
    found: list[Series] = []
    groups: dict[str, list[str]] = {"process": [""], "frontend": [], "backend": [], "server": []}
    groups["frontend"] = combined(proxy=("in_status", "in_monitoring", "rest", "grpc"))
    for instance, protocol in product(shape.instances, ("rest", "grpc")):
        for model in shape.models_of(instance):
            proxy = braced(proxy=f"{protocol}_{model}")
            groups["backend"].append(proxy)
            groups["server"] += [f'{proxy},server="{host}.{instance}"' for host in hosts]
    for name in names(GATEWAY_PAGE):
        kind = name.split("_")[1]
        for each in groups.get(kind, []):
            found += _plain(name, _states(name, kind, each))
    return found


def _states(name: str, kind: str, labels: str) -> list[str]:
    if name.endswith("_http_responses_total"):
        return [f'{labels},code="{code}"' for code in CODES]
    if name.endswith("_status"):
        states = CHECKS if "check_status" in name and "agg_server" not in name else SERVER_STATES
        if name.endswith(f"{kind}_status") and kind != "server" and "agg" not in name:
            states = list(UP_OR_NOT)
        return [f'{labels},state="{state}"' for state in states]
    return [labels]


def alertmanager() -> list[Series]:
    """Return the page of an Alertmanager, as far as its names tell: one series each."""
    return [each for name in names(ALERTMANAGER_PAGE) for each in _plain(name, [""])]
