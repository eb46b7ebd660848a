# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence of hosts as the module diagnosis_evidence returns it (schema 1, docs/evidence.md), and ways to change it.

`healthy()` is a host of two instances under load: `ranker` with batching, 400 requests a second of four rows, and
`spelling` without, 300 a second. Of its eight CPUs 0 keeps house, 1-3 are ranker's and 4-7 spelling's. All figures
agree: what the pages count is what the processes' CPU time, the GPUs and the CPUs' time allow.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping
from typing import Any

import machines
from planner_cases import IMAGE, gpus, instance, model, plan

AT = 1_800_000_000.0
WINDOW_S = 10.0
INSTANCES = ("ranker", "spelling")
CPUS_OF = {"ranker": ("1", "2", "3"), "spelling": ("4", "5", "6", "7")}
PID_OF = {"ranker": 4100, "spelling": 4200}
VERSION_OF = {"ranker": "7", "spelling": "41"}
MODELS = "/var/lib/tfserving/models"
DRIVER = "570.133.20"
REST_OF = {"ranker": 8501, "spelling": 8511}

# The pools of ranker for REST alone have 225.
THREADS = 280

# Inputs of the model of an instance that forms batches.
INPUTS = 9
# What happens in an instance: requests a second by entrypoint, and times in microseconds as {value: share}.
TRAFFIC: dict[str, dict[str, Any]] = {
    "ranker": {
        "grpc_rps": 360, "rest_rps": 40, "error_rps": 0, "error_status": "UNAVAILABLE",
        "execution_us": {7000: 0.5, 9000: 0.4, 16000: 0.1}, "queue_us": 2000, "grpc_overhead_us": 300,
        "rest_overhead_us": 1200, "rows": 4, "batch_rows": 15, "processed_rows": 16, "batching": True,
    },
    "spelling": {
        "grpc_rps": 300, "rest_rps": 0, "error_rps": 0, "error_status": "UNAVAILABLE",
        "execution_us": {3000: 0.6, 5000: 0.35, 9000: 0.05}, "queue_us": 0, "grpc_overhead_us": 200,
        "rest_overhead_us": 1000, "rows": 1, "batch_rows": 1, "processed_rows": 1, "batching": False,
    },
}  # fmt: skip

Page = dict[str, list[list[Any]]]
_T = ":tensorflow:"


def edges(first: float, factor: float, count: int) -> list[str]:
    """Return the limits of a histogram's buckets as the server prints them."""
    return [f"{first * factor**number:.6g}" for number in range(count)]


def histogram(
    page: Page, name: str, labels: Mapping[str, str], values: Mapping[float, float], first: float = 10,
    factor: float = 1.8, count: int = 33,
) -> None:  # fmt: skip
    """Add a histogram of ``values`` (how often each) to a page, as the server prints one."""
    for limit in [*edges(first, factor, count), "+Inf"]:
        below = round(sum(often for value, often in values.items() if value <= float(limit)))
        page.setdefault(f"{name}_bucket", []).append([{**labels, "le": limit}, below])
    total = sum(value * often for value, often in values.items())
    page.setdefault(f"{name}_sum", []).append([dict(labels), float(f"{total:.6g}")])
    page.setdefault(f"{name}_count", []).append([dict(labels), round(sum(values.values()))])


def page(name: str, seconds: float, **changes: Any) -> Page:
    """Return the server's page of metrics after ``seconds`` of the instance's traffic, with ``changes`` to that."""
    flow = {**TRAFFIC[name], **changes}
    found: Page = {}
    requests = {"GRPC": flow["grpc_rps"] * seconds, "REST": flow["rest_rps"] * seconds}
    every = sum(requests.values())
    found[f"{_T}serving:request_count"] = [[{"model_name": name, "status": "OK"}, round(every)]]
    if flow["error_rps"]:
        labels = {"model_name": name, "status": flow["error_status"]}
        found[f"{_T}serving:request_count"].append([labels, round(flow["error_rps"] * seconds)])
    run = {value + flow["queue_us"]: share for value, share in flow["execution_us"].items()}
    for entrypoint, count in requests.items():
        if count:
            overhead = flow[f"{entrypoint.lower()}_overhead_us"]
            api = "Predict" if entrypoint == "GRPC" else "predict"
            labels = {"model_name": name, "API": api, "entrypoint": entrypoint}
            values = {value + overhead: share * count for value, share in run.items()}
            histogram(found, f"{_T}serving:request_latency", labels, values)
    if every:
        values = {value: share * every for value, share in run.items()}
        histogram(
            found, f"{_T}serving:runtime_latency", {"model_name": name, "API": "Predict", "runtime": "TF1"}, values
        )
        histogram(found, f"{_T}core:graph_run_input_tensor_bytes", {}, {flow["rows"] * 1024: every}, 1, 4, 20)
    if flow["batching"] and every:
        _batches(found, flow, every)
    _model(found, name)
    return found


def _batches(found: Page, flow: Mapping[str, Any], every: float) -> None:
    session = f"{_T}serving:batching_session"
    batches = every * flow["rows"] / flow["batch_rows"]
    histogram(found, f"{session}:queuing_latency", {"thread_pool_name": ""}, {flow["queue_us"]: every}, 100, 1.2, 52)
    found[f"{session}:wrapped_run_count"] = [[{}, round(batches)]]
    # Each input of a request is counted anew.
    histogram(found, f"{session}:input_batch_size", {}, {flow["rows"]: every * INPUTS}, 1, 2, 14)
    histogram(found, f"{session}:processed_batch_size", {}, {flow["processed_rows"]: batches}, 1, 2, 14)
    padding = {flow["processed_rows"] - flow["batch_rows"]: batches}
    labels = {"execution_batch_size": str(flow["processed_rows"])}
    histogram(found, f"{session}:padding_size", labels, padding, 1, 2, 14)


def _model(found: Page, name: str) -> None:
    path = {"model_path": f"/var/lib/tfserving/models/{name}/{VERSION_OF[name]}"}
    found[f"{_T}cc:saved_model:load_attempt_count"] = [[{**path, "status": "success"}, 1]]
    found[f"{_T}cc:saved_model:load_latency"] = [[path, 2_400_000]]
    found[f"{_T}core:graph_build_calls"] = [[{}, 3]]
    found[f"{_T}core:graph_build_time_usecs"] = [[{}, 84_000]]
    found[f"{_T}core:bfc_allocator_delay"] = [[{}, 0]]
    histogram(found, f"{_T}serving:model_warmup_latency", {**path, "status": "OK"}, {350_000: 1})


@functools.cache
def _text(with_gpus: bool, cgroup: int) -> str:
    return json.dumps(_host(with_gpus, cgroup))


def healthy(with_gpus: bool = True, cgroup: int = 2, **changes: Any) -> dict[str, Any]:
    """Return the complete evidence of a healthy host under load, ``changes`` in place of its top-level keys."""
    found: dict[str, Any] = json.loads(_text(with_gpus, cgroup))
    return {**found, **changes}


def peers(count: int = 3, **keys: Any) -> list[dict[str, Any]]:
    """Return the evidence of other healthy hosts, named b1, b2, ..."""
    return [healthy(host=f"b{number}", **keys) for number in range(1, count + 1)]


def at(evidence: Any, path: str) -> Any:
    """Return what a path of keys and indices leads to: ``samples/1/instances/ranker/process/wait_us``."""
    for part in path.split("/"):
        evidence = evidence[int(part)] if isinstance(evidence, list) else evidence[part]
    return evidence


def put(evidence: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of the evidence with ``value`` at a path; what is beside the path is shared with the original."""
    found = copy.copy(evidence)
    place: Any = found
    *above, last = path.split("/")
    for part in above:
        key = int(part) if isinstance(place, list) else part
        place[key] = copy.copy(place[key])
        place = place[key]
    place[int(last) if isinstance(place, list) else last] = value
    return found


def grow(evidence: dict[str, Any], path: str, by: float) -> dict[str, Any]:
    """Return a copy in which a counter (a path below a sample) grew by ``by`` between the samples."""
    return put(evidence, f"samples/1/{path}", at(evidence, f"samples/0/{path}") + by)


def both(evidence: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy with ``value`` at a path below each of both samples."""
    return put(put(evidence, f"samples/0/{path}", value), f"samples/1/{path}", value)


def unread(evidence: dict[str, Any], path: str, source: str = "a file") -> dict[str, Any]:
    """Return a copy in which something could not be read: null at the path, and a line in ``unread``."""
    found = put(evidence, path, None)
    return {**found, "unread": [*found["unread"], {"source": source, "why": "no permission"}]}


def traffic(evidence: dict[str, Any], name: str, **changes: Any) -> dict[str, Any]:
    """Return a copy in which an instance's traffic differed between the samples, from TRAFFIC, as its pages tell."""
    before = page(name, 3600)
    grown = page(name, WINDOW_S, **changes)
    after = {each: _sum(before.get(each, []), grown.get(each, [])) for each in (*before, *grown)}
    for each, series in before.items():
        if "saved_model" in each or "warmup" in each or ":core:graph_build" in each:
            after[each] = series
    changed = put(evidence, f"samples/0/instances/{name}/metrics", before)
    return put(changed, f"samples/1/instances/{name}/metrics", after)


def _sum(before: list[list[Any]], grown: list[list[Any]]) -> list[list[Any]]:
    totals: dict[str, list[Any]] = {}
    for labels, number in [*before, *grown]:
        key = json.dumps(labels, sort_keys=True)
        totals[key] = [labels, totals.get(key, [labels, 0])[1] + number]
    return [
        [labels, float(f"{number:.6g}") if isinstance(number, float) else number] for labels, number in totals.values()
    ]


def _plan(with_gpus: bool) -> dict[str, Any]:
    machine = machines.topology(
        sockets=2, cores=4, smt=1, memory_mb=65536, gpus=gpus(2, 2) if with_gpus else (), nics=[{}]
    )
    batching = {"max_batch_size": 32, "max_enqueued_batches": 4}
    devices = {"gpus": 1} if with_gpus else {}
    instances = [
        instance("ranker", ["ranker"], profile="balanced", slo_p99_ms=50, batching=batching, cpus=3, **devices),
        instance("spelling", ["spelling"], profile="latency", cpus=4, **devices),
    ]
    models = [model(memory_mb=900), model("spelling", version=41, memory_mb=300)]
    return plan(machine, instances, models, **IMAGE)


def _host(with_gpus: bool, cgroup: int) -> dict[str, Any]:
    planned = _plan(with_gpus)
    samples = [_sample(AT, 0.0, with_gpus, cgroup), _sample(AT + WINDOW_S, WINDOW_S, with_gpus, cgroup)]
    found = {
        "schema": 1, "host": "a1", "kernel": "6.12.48+deb13-amd64", "cgroup": cgroup, "virtual": None,
        "collector": {"seconds": WINDOW_S, "took_s": 11.9, "status_calls": 2, "root": True, "sections": [],
                      "instances": [], "servers": list(PID_OF.values()), "plan_changed": False},
        "plan": planned, "unread": [], "samples": samples, "facts": _facts(with_gpus),
        "instances": {each["name"]: _instance(each) for each in planned["instances"]},
        "gpus": [_gpu(0, "ranker"), _gpu(1, "spelling")] if with_gpus else None, "gpu_error": None,
        "kernel_log": ["Linux version 6.12.48+deb13-amd64", "tsc: Refined TSC clocksource calibration: 2399.998 MHz"],
        "processes": [
            {"pid": 812, "name": "sshd", "cpus_allowed": "0", "cpu_us": 20_000, "unit": "ssh.service"},
        ],
        "gateway": None,
    }  # fmt: skip
    evidence: dict[str, Any] = json.loads(json.dumps(found))
    # Without a list of allowed sizes nothing is padded.
    padding = {} if with_gpus else {"processed_rows": TRAFFIC["ranker"]["batch_rows"]}
    return traffic(traffic(evidence, "ranker", **padding), "spelling")


# Microseconds of ten seconds in which a CPU works for each state: those that keep house, and those that serve.
_HOUSE = {"user_us": 600_000, "system_us": 250_000, "irq_us": 20_000, "softirq_us": 130_000}
_SERVE = {"user_us": 5_400_000, "system_us": 600_000, "irq_us": 0, "softirq_us": 0}


def _cpu(number: int, seconds: float) -> dict[str, int]:
    busy = _HOUSE if number == 0 else _SERVE
    worked = {name: round(each * (3600 + seconds) / WINDOW_S) for name, each in busy.items()}
    idle = round((3600 + seconds) * 1e6) - sum(worked.values())
    return {**worked, "idle_us": idle, "iowait_us": 0, "steal_us": 0}


def _sample(now: float, seconds: float, with_gpus: bool, cgroup: int) -> dict[str, Any]:
    whole = 3600 + seconds
    return {
        "at": now,
        "stat": {str(number): _cpu(number, seconds) for number in range(8)},
        "pressure": {
            "cpu": {"some_us": round(whole * 4_000), "full_us": None},
            "io": {"some_us": round(whole * 200), "full_us": 0},
            "memory": {"some_us": 0, "full_us": 0},
        },
        "vmstat": {
            "pgmajfault": 900, "compact_stall": 0, "compact_fail": 0, "thp_fault_alloc": 4000, "thp_split_page": 0,
            "pswpin": 0, "pswpout": 0, "allocstall_normal": 0, "numa_miss": 0, "oom_kill": 0,
        },
        "net": {
            "TcpExt.ListenOverflows": 0, "TcpExt.ListenDrops": 0, "TcpExt.TCPTimeouts": 3, "TcpExt.TCPReqQFullDrop": 0,
            "TcpExt.TCPAbortOnMemory": 0, "Tcp.RetransSegs": 40, "Tcp.OutSegs": round(whole * 2_000),
            "Tcp.InSegs": round(whole * 2_000), "Tcp.CurrEstab": 24, "Tcp.AttemptFails": 0, "Tcp.ActiveOpens": 200,
            "Tcp.PassiveOpens": 100, "Tcp.EstabResets": 1, "sockstat.tcp_inuse": 30, "sockstat.tcp_tw": 12,
            "sockstat.tcp_orphan": 0, "sockstat.tcp_mem": 8,
        },
        "softnet": {str(cpu): {"processed": round(whole * 900), "dropped": 0, "squeezed": 0} for cpu in range(8)},
        "interrupts": {str(cpu): round(whole * (3_000 if cpu == 0 else 120)) for cpu in range(8)},
        "conntrack": {"count": 60, "max": 262_144},
        "gpus": [{key: _gpu(index, name)[key] for key in _MOVING} for index, name in enumerate(INSTANCES)]
        if with_gpus
        else None,
        "instances": {name: _running(name, seconds, cgroup) for name in INSTANCES},
    }  # fmt: skip


def _running(name: str, seconds: float, cgroup: int) -> dict[str, Any]:
    whole = 3600 + seconds
    # Six tenths of its CPUs; one percent of that time it waited for one.
    cpu_us = round(whole * 600_000 * len(CPUS_OF[name]))
    wait_us = cpu_us // 100
    rss = 1_500 if name == "ranker" else 800
    return {
        "process": {
            "pid": PID_OF[name], "started": 12_000, "age_s": whole, "cpu_us": cpu_us, "run_us": cpu_us,
            "wait_us": wait_us, "slices": round(whole * 4_000), "threads": THREADS, "voluntary": round(whole * 3_000),
            "nonvoluntary": round(whole * 60), "majflt": 310, "rss_mb": rss, "swap_mb": 0,
            "read_bytes": 700 << 20, "fds": 62,
        },
        "tasks": _tasks(PID_OF[name], cpu_us, wait_us),
        "tasks_left_out": 0, "sockets": {"established": 24, "unread_bytes": 0, "queued": 0}, "metrics_error": False,
        "cgroup": _group(cpu_us, rss, cgroup),
        "metrics": None,
    }  # fmt: skip


def _tasks(pid: int, cpu_us: int, wait_us: int) -> list[dict[str, Any]]:
    """Return 8 threads that share the work and others that wait for some, as a pool is between requests."""
    busy = [
        {"tid": pid + number, "name": "tensorflow_mode", "state": "R" if number % 2 else "S", "cpu_us": cpu_us // 8,
         "wait_us": wait_us // 8, "wchan": "" if number % 2 else "futex_wait_queue"}
        for number in range(1, 9)
    ]  # fmt: skip
    idle = [
        {"tid": pid + number, "name": "grpcpp_sync_ser" if number % 2 else "tensorflow_mode", "state": "S",
         "cpu_us": 10_000, "wait_us": 100, "wchan": "ep_poll" if number % 9 == 0 else "futex_wait_queue"}
        for number in range(9, THREADS + 1)
    ]  # fmt: skip
    return [*busy, *idle]


def _group(cpu_us: int, rss_mb: int, cgroup: int) -> dict[str, Any]:
    stat = {"nr_periods": 0, "nr_throttled": 0, "throttled_us": 0, "usage_us": cpu_us}
    if cgroup == 1:
        return {"cpu_stat": stat, "pressure": None, "memory": {"current_mb": rss_mb + 100, "events": {}}}
    waits = {"some_us": round(cpu_us * 0.004), "full_us": 0}
    return {
        "cpu_stat": stat,
        "pressure": {"cpu": waits, "io": {"some_us": 0, "full_us": 0}, "memory": {"some_us": 0, "full_us": 0}},
        "memory": {
            "current_mb": rss_mb + 100, "max_mb": rss_mb * 2, "high_mb": round(rss_mb * 1.6), "swap_mb": 0,
            "events": {"low": 0, "high": 0, "max": 0, "oom": 0, "oom_kill": 0},
        },
    }  # fmt: skip


def _facts(with_gpus: bool) -> dict[str, Any]:
    cpus = [str(number) for number in range(8)]
    link = {"width": 16, "max_width": 16, "speed": "16.0 GT/s", "max_speed": "16.0 GT/s"}
    devices = [
        {
            "address": "0000:01:00.0",
            "vendor": "0x15b3",
            "class": "0x020000",
            **link,
            "width": 8,
            "max_width": 8,
            "node": 0,
        }
    ]
    if with_gpus:
        devices += [
            {"address": f"0000:{bus}:00.0", "vendor": "0x10de", "class": "0x030200", **link, "node": node}
            for bus, node in (("3b", 0), ("af", 1))
        ]
    return {
        "clocksource": {"current": "tsc", "available": ["tsc", "hpet", "acpi_pm"]},
        "cpufreq": {
            "governor": dict.fromkeys(cpus, "performance"), "mhz": dict.fromkeys(cpus, 2390.0),
            "max_mhz": dict.fromkeys(cpus, 2400.0),
        },
        "cpuidle": {
            cpu: [
                {"name": "POLL", "latency_us": 0, "time_us": 1_000, "disabled": False},
                {"name": "C1", "latency_us": 2, "time_us": 900_000_000, "disabled": False},
                {"name": "C6", "latency_us": 170, "time_us": 1_000_000, "disabled": cpu != "0"},
            ]
            for cpu in cpus
        },
        "thermal_throttle": dict.fromkeys(cpus, 0), "thp": "madvise", "swappiness": 1,
        "memory": {
            "total_mb": 131_072, "free_mb": 90_000, "available_mb": 118_000, "swap_total_mb": 0, "swap_free_mb": 0,
        },
        "nodes": {
            "0": {"cpus": "0-3", "total_mb": 65_536, "free_mb": 45_000},
            "1": {"cpus": "4-7", "total_mb": 65_536, "free_mb": 45_000},
        },
        "somaxconn": 16_384, "syn_backlog": 16_384, "port_range": [16_384, 65_535],
        "links": {"eth0": {"speed_mbit": 25_000, "duplex": "full", "mtu": 1500, "up": True, "carries": True}},
        "resolve_ms": 1.2, "clock": {"synchronised": True, "offset_ms": 0.2},
        "disks": [{"path": MODELS, "total_mb": 900_000, "free_mb": 700_000, "inodes_free": 50_000_000}],
        "pci": devices, "nvidia": {"module_version": DRIVER, "library_version": DRIVER} if with_gpus else None,
        "certificates": [],
        "listeners": [
            {"port": port, "address": "0.0.0.0", "pid": PID_OF[name], "queue": 0, "backlog": backlog}
            for name in INSTANCES for port, backlog in ((REST_OF[name] - 1, 4_096), (REST_OF[name], 128))
        ],
    }  # fmt: skip


def _instance(planned: Mapping[str, Any]) -> dict[str, Any]:
    name = planned["name"]
    cpus = f"{CPUS_OF[name][0]}-{CPUS_OF[name][-1]}"
    flags = planned["flags"]
    words = {key: str(value).lower() if isinstance(value, bool) else value for key, value in flags.items()}
    return {
        "unit": {
            "name": f"tfserving@{name}.service", "load": "loaded", "state": "active", "sub_state": "running",
            "restarts": 0, "result": "success", "exit_status": 0, "started": AT - 3600, "invocation": "5f" * 16,
            "pid": PID_OF[name],
            "enabled": True, "needs_reload": False, "mark_is_planned": True, "cpu_quota": None,
            "memory_high_mb": planned["memory"]["high_mb"], "memory_max_mb": planned["memory"]["max_mb"],
            "allowed_cpus": cpus, "affinity": "", "tasks_max": None, "limit_nofile": 1_048_576,
        },
        "cmdline": ["/usr/bin/tensorflow_model_server", *(f"--{key}={value}" for key, value in words.items())],
        "limits": {"nofile": [1_048_576, 1_048_576], "nproc": [500_000, 500_000], "memlock": [None, None]},
        "cpus_allowed": cpus, "mems_allowed": "0-1", "cpus_of_threads": [cpus], "effective_cpus": cpus,
        "effective_mems": "0-1", "allocator": "jemalloc", "binary_replaced": False,
        "numa_pages": {"0": 600_000, "1": 0} if name == "ranker" else {"0": 0, "1": 330_000}, "oom_kills": 0,
        "cuda_cache": {"path": "/var/cache/cuda", "exists": True, "size_mb": 210.0} if planned["gpus"] else None,
        "models": {name: {"states": [_state(int(VERSION_OF[name]))], "error": ""}},
        "log": [
            f"Successfully loaded servable version {{name: {name} version: {VERSION_OF[name]}}}",
            f"Running gRPC ModelServer at 0.0.0.0:{flags['port']} ...",
            f"Exporting HTTP/REST API at:localhost:{flags['rest_api_port']} ...",
        ],
        "files": _files(planned), "files_changed": {"models.config": AT - 3600},
        "model_files": {name: {"base_exists": True, "versions": {VERSION_OF[name]: dict(_VERSION)}}},
        "probe": {"grpc_health": "SERVING", "rest_ms": 1.4, "grpc_ms": 0.9, "grpc_error": "", "status_calls": 1},
        "gate": None,
    }  # fmt: skip


_VERSION = {"size_mb": 480.0, "warmup": True, "batching_params": False, "complete": True}


def _state(version: int) -> dict[str, Any]:
    return {"version": version, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}


def _files(planned: Mapping[str, Any]) -> dict[str, str]:
    name = planned["name"]
    files = {
        "models.config": f'model_config_list {{ config {{ name: "{name}" base_path: "/var/lib/tfserving/models/{name}" '
        f'model_platform: "tensorflow" model_version_policy {{ specific {{ versions: {VERSION_OF[name]} }} }} }} }}\n',
        "monitoring.config": 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n',
    }
    batching = planned["batching"]
    if batching:
        sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in batching.get("allowed_batch_sizes", ()))
        names = ("max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches")
        files["batching.config"] = "".join(f"{key} {{ value: {batching[key]} }}\n" for key in names) + sizes
    return files


_MOVING = (
    "index", "uuid", "utilisation", "memory_used_mb", "temperature", "power_w", "sm_mhz", "pcie_width", "pcie_gen",
    "reasons",
)  # fmt: skip


def _gpu(index: int, name: str) -> dict[str, Any]:
    return {
        "index": index, "uuid": f"GPU-{index:04d}", "name": "NVIDIA H100 80GB HBM3", "node": index,
        "pci": ("0000:3b:00.0", "0000:af:00.0")[index], "driver": DRIVER, "utilisation": 55.0,
        "memory_used_mb": 9_000, "memory_total_mb": 81_920, "temperature": 58, "power_w": 310.0, "power_limit_w": 700.0,
        "sm_mhz": 1_980, "sm_max_mhz": 1_980, "pstate": "P0", "persistence": True, "mig": None, "reasons": 0,
        "pcie_width": 16,
        "pcie_width_max": 16, "pcie_gen": 4, "pcie_gen_max": 4, "ecc_uncorrectable": 0, "remap_pending": False,
        "remap_failed": False, "processes": [{"pid": PID_OF[name], "memory_mb": 8_900}],
    }  # fmt: skip


_SERVER = {
    "status": "UP", "scur": 4, "qcur": 0, "qmax": 0, "weight": 1, "econ": 0, "eresp": 0, "wretr": 0, "wredis": 0,
    "chkfail": 0, "qtime": 0, "ctime": 0, "rtime": 13, "ttime": 14, "hrsp_5xx": 0, "hrsp_4xx": 0, "act": 1,
}  # fmt: skip


def gateway(hosts: tuple[str, ...] = ("a1", "b1", "b2"), **changes: Any) -> dict[str, Any]:
    """Return the evidence of a healthy gateway before ``hosts``, ``changes`` in place of its top-level keys."""
    found = healthy(with_gpus=False, host="g1", plan=None, instances={}, gpus=None)
    for sample in found["samples"]:
        sample["instances"] = {}
    stats = [_statistics(hosts, 0.0), _statistics(hosts, WINDOW_S)]
    return {**found, "gateway": {"stats": stats, "error": None}, **changes}


def _statistics(hosts: tuple[str, ...], seconds: float) -> dict[str, Any]:
    whole = 3600 + seconds
    servers = {
        f"{host}.ranker": {
            **_SERVER,
            "stot": round(whole * 400),
            "lbtot": round(whole * 400),
            "hrsp_2xx": round(whole * 400),
        }
        for host in hosts
    }
    every = sum(each["stot"] for each in servers.values())
    info = {
        "Idle_pct": 82, "Maxconn": 20_000, "CurrConns": 60, "CumConns": round(whole * 2), "CumReq": every,
        "CurrSslConns": 40, "CumSslConns": round(whole), "SslRate": 1, "SslFrontendKeyRate": 1, "ConnRate": 2,
        "SessRate": 2, "SslFrontendSessionReuse_pct": 60, "Nbthread": 4, "Uptime_sec": round(whole), "Run_queue": 1,
    }  # fmt: skip
    listening = {
        "status": "OPEN",
        "scur": 60,
        "slim": 20_000,
        "smax": 90,
        "stot": round(whole * 2),
        "req_tot": every,
        "ereq": 0,
        "dreq": 0,
    }
    behind = {key: value for key, value in _SERVER.items() if key not in ("weight", "act")}
    return {
        "at": AT + seconds,
        "info": info,
        "frontends": {"grpc": listening},
        "backends": {"ranker": {**behind, "slim": 2_000, "stot": every, "hrsp_2xx": every, "servers": servers}},
    }
