# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence of hosts with one fault of a model or of settings each, made from that of a healthy one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import evidence_cases as hosts
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case

Evidence = dict[str, Any]
SLOW = {27_000: 0.5, 39_000: 0.4, 90_000: 0.1}


def healthy(**keys: Any) -> Evidence:
    """Return the evidence of a healthy host whose pages tell the size of answers too."""
    evidence = hosts.healthy(**keys)
    for name in hosts.INSTANCES:
        evidence = sized(evidence, name, ":tensorflow:core:graph_run_output_tensor_bytes", {400: 4_000})
    return evidence


def flags(evidence: Evidence, name: str, *changes: str) -> Evidence:
    """Return a copy whose process was started with other flags; a change that is a name alone takes the flag out."""
    names = {change.partition("=")[0] for change in changes}
    words = hosts.at(evidence, f"instances/{name}/cmdline")
    kept = [word for word in words if word.lstrip("-").partition("=")[0] not in names]
    return hosts.put(evidence, f"instances/{name}/cmdline", [*kept, *(f"--{each}" for each in changes if "=" in each)])


def batching(evidence: Evidence, **fields: Any) -> Evidence:
    """Return a copy whose ranker has this file of batching parameters."""
    usual = {"max_batch_size": 32, "batch_timeout_micros": 1000, "num_batch_threads": 4, "max_enqueued_batches": 4}
    sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in fields.pop("allowed_batch_sizes", ()))
    lines = "".join(f"{name} {{ value: {value} }}\n" for name, value in {**usual, **fields}.items())
    return hosts.put(evidence, "instances/ranker/files/batching.config", lines + sizes)


def logged(evidence: Evidence, name: str, *lines: str) -> Evidence:
    """Return a copy whose instance has written these lines too."""
    return hosts.put(evidence, f"instances/{name}/log", [*hosts.at(evidence, f"instances/{name}/log"), *lines])


def counted(evidence: Evidence, name: str, metric: str, before: Any, after: Any) -> Evidence:
    """Return a copy whose page has a metric with these series in the first and the last sample."""
    found = hosts.put(evidence, f"samples/0/instances/{name}/metrics/{metric}", before)
    return hosts.put(found, f"samples/1/instances/{name}/metrics/{metric}", after)


def sized(evidence: Evidence, name: str, metric: str, values: dict[float, float]) -> Evidence:
    """Return a copy whose page has got these values of bytes between the samples."""
    page: hosts.Page = {}
    hosts.histogram(page, metric, {}, values, 1, 4, 14)
    for part, series in page.items():
        evidence = counted(evidence, name, part, [[labels, 0] for labels, _ in series], series)
    return evidence


def silent(evidence: Evidence, name: str) -> Evidence:
    """Return a copy whose REST, and with it the page of metrics, does not answer."""
    found = hosts.both(evidence, f"instances/{name}/metrics", None)
    found = hosts.both(found, f"instances/{name}/metrics_error", "timed out")
    found = hosts.put(found, f"instances/{name}/models/{name}", {"states": [], "error": "port 8511 timed out"})
    probe = hosts.at(found, f"instances/{name}/probe")
    return hosts.put(found, f"instances/{name}/probe", {"error": "port 8511 timed out", **probe, "rest_ms": None})


def label(evidence: Evidence, name: str, label_: str, version: int) -> Evidence:
    """Return a copy whose plan and file of models have a label."""
    index = hosts.INSTANCES.index(name)
    path = f"plan/instances/{index}/model_config/model_config_list/config/0"
    found = hosts.put(evidence, f"{path}/version_labels", {label_: version})
    content = hosts.at(found, f"instances/{name}/files/models.config")
    return hosts.put(
        found,
        f"instances/{name}/files/models.config",
        content + f'# version_labels {{ key: "{label_}" value: {version} }}\n',
    )


def states(evidence: Evidence, name: str, *rows: tuple[int, str, str, str]) -> Evidence:
    """Return a copy whose server reports these versions of its model."""
    found = [
        {"version": version, "state": state, "error_code": code, "error_message": words}
        for version, state, code, words in rows
    ]
    return hosts.put(evidence, f"instances/{name}/models/{name}/states", found)


def busy(evidence: Evidence, name: str, share: float) -> Evidence:
    """Return a copy whose process kept this share of its CPUs busy."""
    worked = round(share * len(hosts.CPUS_OF[name]) * hosts.WINDOW_S * 1e6)
    for counter in ("cpu_us", "run_us"):
        evidence = hosts.grow(evidence, f"instances/{name}/process/{counter}", worked)
    return evidence


def still(evidence: Evidence, name: str) -> Evidence:
    """Return a copy whose threads did nothing between the samples, and which does not answer."""
    tasks = hosts.at(evidence, f"samples/0/instances/{name}/tasks")
    waiting = [{**task, "state": "S", "wchan": "futex_wait_queue"} for task in tasks]
    late = "port 8511 timed out"
    probe = {"grpc_health": None, "rest_ms": None, "grpc_ms": None, "error": late, "grpc_error": "timed out"}
    found = busy(hosts.both(evidence, f"instances/{name}/tasks", waiting), name, 0.0)
    return silent(hosts.put(found, f"instances/{name}/probe", probe), name)


def _refusing() -> Evidence:
    evidence = batching(hosts.healthy(), num_batch_threads=2)
    return hosts.traffic(evidence, "ranker", execution_us=SLOW, queue_us=200_000, error_rps=90, batch_rows=31)


def _timeout_long() -> Evidence:
    evidence = batching(hosts.healthy(), batch_timeout_micros=100_000)
    return hosts.traffic(evidence, "ranker", queue_us=80_000, batch_rows=5, grpc_rps=40, rest_rps=4, processed_rows=5)


def _never_fill() -> Evidence:
    evidence = batching(hosts.healthy(), batch_timeout_micros=80_000, max_batch_size=64)
    evidence = flags(evidence, "ranker", "grpc_max_threads=5", "rest_api_num_threads=5")
    return hosts.traffic(evidence, "ranker", queue_us=70_000, batch_rows=16, grpc_rps=48, rest_rps=0)


def _slower() -> Evidence:
    evidence = batching(hosts.healthy(with_gpus=False), batch_timeout_micros=40_000)
    return hosts.traffic(evidence, "ranker", queue_us=30_000, execution_us={30_000: 1.0}, batch_rows=16, grpc_rps=100)


def slower_peers() -> list[Evidence]:
    """Return peers whose batches have half the rows, and take half the time."""
    return [
        hosts.traffic(each, "ranker", queue_us=30_000, execution_us={15_200: 1.0}, batch_rows=8)
        for each in hosts.peers(with_gpus=False)
    ]


def _late(**changes: Any) -> Evidence:
    evidence = hosts.traffic(hosts.healthy(), "spelling", error_rps=90, error_status="DEADLINE_EXCEEDED", **changes)
    return busy(evidence, "spelling", 0.85)


def _new_version() -> Evidence:
    return hosts.put(hosts.healthy(), "instances/spelling/model_files/spelling/versions/41/warmup", False)


def _cold() -> Evidence:
    evidence = hosts.put(_new_version(), "instances/spelling/unit/started", hosts.AT - 40)
    return hosts.traffic(evidence, "spelling", execution_us={3_000: 0.95, 900_000: 0.05})


def _builds() -> Evidence:
    evidence = hosts.traffic(hosts.healthy(), "spelling", execution_us={90_000: 0.5, 160_000: 0.5})
    evidence = hosts.grow(evidence, "instances/spelling/metrics/:tensorflow:core:graph_build_calls/0/1", 900)
    return hosts.grow(evidence, "instances/spelling/metrics/:tensorflow:core:graph_build_time_usecs/0/1", 2.7e8)


def _giants() -> Evidence:
    evidence = hosts.traffic(hosts.healthy(), "spelling", execution_us={3_000: 0.97, 700_000: 0.03})
    return sized(evidence, "spelling", ":tensorflow:core:graph_run_input_tensor_bytes", {1_000: 2_900, 3_000_000: 100})


def _overloaded() -> Evidence:
    evidence = hosts.healthy(with_gpus=False)
    evidence = hosts.traffic(evidence, "spelling", execution_us={400_000: 0.5, 900_000: 0.5}, grpc_rps=800)
    return busy(evidence, "spelling", 0.98)


def _reloads() -> Evidence:
    metric = "instances/spelling/metrics/:tensorflow:cc:saved_model:load_attempt_count/0/1"
    return hosts.grow(hosts.healthy(), metric, 4)


def _closed() -> Evidence:
    evidence = hosts.healthy()
    rows = [row for row in evidence["facts"]["listeners"] if row["port"] != hosts.REST_OF["spelling"]]
    evidence = hosts.put(evidence, "facts/listeners", [*rows, {"port": 8511, "address": "0.0.0.0", "pid": 999}])
    return silent(logged(evidence, "spelling", "Failed to start HTTP Server at localhost:8511"), "spelling")


def _bare() -> Evidence:
    evidence = flags(hosts.healthy(), "ranker", "enable_per_model_batching_parameters=true")
    return hosts.traffic(evidence, "ranker", batching=False)


def _one_thread() -> Evidence:
    return silent(flags(hosts.healthy(), "spelling", "rest_api_num_threads=1"), "spelling")


def _json() -> Evidence:
    return hosts.traffic(hosts.healthy(), "spelling", rest_rps=60, rest_overhead_us=120_000)


def _lost() -> Evidence:
    evidence = flags(
        hosts.healthy(),
        "spelling",
        "tensorflow_intra_op_parallelism",
        "tensorflow_session_config_file=/etc/tfserving/spelling/session.config",
    )
    return hosts.put(evidence, "instances/spelling/files/session.config", "intra_op_parallelism_threads: 4\n")


def _cpu_ops() -> Evidence:
    evidence = hosts.put(hosts.healthy(), "gpus/1/utilisation", 4.0)
    return busy(hosts.traffic(evidence, "spelling", execution_us={200_000: 1.0}), "spelling", 0.95)


def _skewed() -> Evidence:
    return states(hosts.healthy(), "spelling", (40, "AVAILABLE", "OK", ""))


def restarted(evidence: Evidence, name: str, restarts: int, seconds: float = 4.0) -> Evidence:
    """Return a copy whose instance is another process in the last sample, which serves since some seconds."""
    found = hosts.put(evidence, f"instances/{name}/unit/restarts", restarts)
    last = hosts.at(found, f"samples/1/instances/{name}")
    process = {**last["process"], "pid": 9000, "started": 500_000, "age_s": seconds, "cpu_us": 900_000}
    tasks = [{**task, "tid": task["tid"] + 5000} for task in last["tasks"]]
    # Callers who waited make more calls in those seconds than the process before had answered of some kinds.
    young = {**last, "process": process, "tasks": tasks, "metrics": hosts.page(name, seconds * 2000)}
    return hosts.put(found, f"samples/1/instances/{name}", young)


def _loops() -> Evidence:
    lines = "F0000 00:00:00.000000 4200 server.cc:99] Check failed: status.ok()"
    return logged(restarted(hosts.healthy(), "spelling", 7), "spelling", lines)


# By the id of a fault: evidence of a host that has it, and which instance (None for the host) has it.
INJECTED: dict[str, tuple[Callable[[], Evidence], str | None]] = {
    "batching.timeout_long": (_timeout_long, "ranker"),
    "batching.never_fill": (_never_fill, "ranker"),
    "batching.queue_full": (_refusing, "ranker"),
    "batching.slower": (_slower, "ranker"),
    "batching.padding": (
        lambda: hosts.traffic(
            batching(hosts.healthy(), allowed_batch_sizes=(32,)),
            "ranker", execution_us={90_000: 1.0}, batch_rows=8, processed_rows=32,
        ),
        "ranker",
    ),
    "batching.sizes": (lambda: batching(hosts.healthy(), allowed_batch_sizes=(8, 16)), "ranker"),
    "batching.file_missing": (_bare, "ranker"),
    "rest.threads": (_one_thread, "spelling"),
    "rest.port_closed": (_closed, "spelling"),
    "flags.unknown": (lambda: flags(hosts.healthy(), "spelling", "tensorflow_intra_op_paralelism=4"), "spelling"),
    "flags.settings_lost": (_lost, "spelling"),
    "xla.no_compiler": (
        lambda: logged(hosts.healthy(), "spelling", "UNIMPLEMENTED: Could not find compiler for platform CUDA"),
        "spelling",
    ),
    "rest.time_limit": (
        lambda: _late(execution_us={2_000: 0.5, 25_000_000: 0.5}, rest_rps=20, grpc_rps=1),
        "spelling",
    ),
    "client.message_limit": (
        lambda: sized(
            hosts.healthy(), "spelling", ":tensorflow:core:graph_run_output_tensor_bytes", {1_000: 990, 9_000_000: 10}
        ),
        "spelling",
    ),
    "tls.certificate": (
        lambda: hosts.put(
            hosts.healthy(), "facts/certificates", [{"path": "/etc/tfserving/tls.pem", "not_after": hosts.AT - 3600}]
        ),
        None,
    ),
    "clock.skew": (
        lambda: hosts.put(hosts.healthy(), "facts/clock", {"synchronised": False, "offset_ms": 90_000.0}),
        None,
    ),
    "models.reload_loop": (_reloads, "spelling"),
    "models.base_path": (
        lambda: hosts.put(
            hosts.healthy(), "instances/spelling/model_files/spelling", {"base_exists": False, "versions": {}}
        ),
        "spelling",
    ),
    "models.label": (lambda: label(hosts.healthy(), "spelling", "canary", 42), "spelling"),
    "model.no_warmup": (_cold, "spelling"),
    "model.new_shapes": (_builds, "spelling"),
    "model.load_fails": (
        lambda: states(
            hosts.healthy(), "spelling", (41, "AVAILABLE", "OK", ""), (42, "END", "NOT_FOUND", "Op type not registered")
        ),
        "spelling",
    ),
    "model.version_skew": (_skewed, "spelling"),
    "model.json": (_json, "spelling"),
    "model.giant_requests": (_giants, "spelling"),
    "model.cpu_ops": (_cpu_ops, "spelling"),
    "model.late_work": (lambda: _late(execution_us={60_000: 1.0}), "spelling"),
    "model.overload": (_overloaded, "spelling"),
    "server.restarts": (_loops, "spelling"),
    "model.stuck": (lambda: still(hosts.healthy(), "spelling"), "spelling"),
}  # fmt: skip


def case(fault: str) -> Case:
    """Return the case of a host with a fault of INJECTED, among healthy peers."""
    make, _instance = INJECTED[fault]
    others = slower_peers() if fault == "batching.slower" else hosts.peers()
    return Case(make(), peers=others)
