# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence of hosts that are well in other ways than `evidence_cases.healthy()`: at rest, at work, amid a change.

Each has something that looks like a fault from afar. No rule may call any of it a cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import evidence_cases as hosts
import fault_cases
from evidence_cases import AT, WINDOW_S, both, gateway, grow, healthy, put, traffic

Evidence = dict[str, Any]
SPELLING = "instances/spelling"
INPUT_BYTES = ":tensorflow:core:graph_run_input_tensor_bytes"


def at_work(evidence: Evidence, cpus: str, share: float) -> Evidence:
    """Return a copy in which CPUs worked for a share of the time."""
    for cpu in cpus:
        busy = round(share * WINDOW_S * 1e6)
        evidence = grow(grow(evidence, f"stat/{cpu}/user_us", busy), f"stat/{cpu}/system_us", 0)
        evidence = grow(evidence, f"stat/{cpu}/idle_us", round(WINDOW_S * 1e6) - busy)
    return evidence


def clocked(evidence: Evidence, mhz: float) -> Evidence:
    """Return a copy with the governor that most systems come with, and a processor of 2.2 GHz that turns up to 3.5."""
    cpus = [str(number) for number in range(8)]
    facts = {"governor": dict.fromkeys(cpus, "powersave"), "mhz": dict.fromkeys(cpus, mhz),
             "max_mhz": dict.fromkeys(cpus, 3500.0), "base_mhz": dict.fromkeys(cpus, 2200.0)}  # fmt: skip
    return put(evidence, "facts/cpufreq", facts)


def of_models(evidence: Evidence, name: str, *flows: dict[str, Any]) -> Evidence:
    """Return a copy whose instance serves several models, each with its traffic between the samples."""
    first, last = (
        [_page(name, number, flow, seconds) for number, flow in enumerate(flows)] for seconds in (3600, 3610)
    )
    found = put(evidence, f"samples/0/instances/{name}/metrics", _together(first))
    names = [f"{name}{number or ''}" for number in range(len(flows))]
    planned = put(found, f"plan/instances/{hosts.INSTANCES.index(name)}/models", names)
    states = hosts.at(found, f"instances/{name}/models/{name}")
    planned = put(planned, f"instances/{name}/models", dict.fromkeys(names, states))
    files = hosts.at(found, f"instances/{name}/model_files/{name}")
    planned = put(planned, f"instances/{name}/model_files", dict.fromkeys(names, files))
    return put(planned, f"samples/1/instances/{name}/metrics", _together(last))


def _page(name: str, number: int, flow: dict[str, Any], seconds: float) -> hosts.Page:
    """Return the page of one model, which is named like its instance with a number."""
    loads = (":cc:", ":core:graph_build", "warmup")
    series = {
        key: rows for key, rows in hosts.page(name, seconds, **flow).items() if not any(each in key for each in loads)
    }
    renamed = f"{name}{number or ''}"
    return {
        key: [
            [{**labels, **({"model_name": renamed} if "model_name" in labels else {})}, value] for labels, value in rows
        ]
        for key, rows in series.items()
    }


def _together(pages: list[hosts.Page]) -> hosts.Page:
    found: dict[str, dict[tuple[Any, ...], list[Any]]] = {}
    for page in pages:
        for key, rows in page.items():
            place = found.setdefault(key, {})
            for labels, value in rows:
                at = tuple(sorted(labels.items()))
                place[at] = [labels, place.get(at, [labels, 0])[1] + value]
    return {key: list(rows.values()) for key, rows in found.items()}


def _idle() -> Evidence:
    evidence = clocked(healthy(with_gpus=False), 900.0)
    for name in hosts.INSTANCES:
        evidence = fault_cases.busy(traffic(evidence, name, grpc_rps=0, rest_rps=0), name, 0.0005)
        tasks = hosts.at(evidence, f"samples/0/instances/{name}/tasks")
        resting = [{**task, "state": "S", "wchan": "futex_wait_queue"} for task in tasks]
        evidence = both(evidence, f"instances/{name}/tasks", resting)
    return at_work(evidence, "01234567", 0.005)


def _few_calls() -> Evidence:
    evidence = at_work(healthy(with_gpus=False), "4567", 0.02)
    evidence = traffic(evidence, "spelling", grpc_rps=3, execution_us={700: 1.0}, grpc_overhead_us=100)
    evidence = fault_cases.busy(evidence, "spelling", 0.02)
    for cpu in "4567":
        evidence["facts"]["cpuidle"][cpu][2]["disabled"] = False
    return put(evidence, "plan/instances/1/objective_p99_ms", None)


def _busy() -> Evidence:
    evidence = clocked(healthy(with_gpus=False), 2300.0)
    for name in hosts.INSTANCES:
        evidence = fault_cases.busy(traffic(evidence, name, grpc_rps=900), name, 0.97)
    return at_work(evidence, "1234567", 0.97)


def _loading() -> Evidence:
    """Return a host amid a roll-out: a version of 1 GB is read within a second from a local disk."""
    evidence = fault_cases.states(healthy(), "spelling", (41, "AVAILABLE", "OK", ""), (42, "LOADING", "OK", ""))
    evidence = grow(evidence, f"{SPELLING}/process/read_bytes", 1e9)
    evidence = grow(evidence, f"{SPELLING}/cgroup/pressure/io/some_us", 1_300_000)
    return grow(evidence, f"{SPELLING}/metrics/:tensorflow:cc:saved_model:load_attempt_count/0/1", 1)


def _mended() -> Evidence:
    """Return a host on which version 40 did not load some time ago, and 41 does."""
    rows = ((40, "END", "NOT_FOUND", "Op type not registered"), (41, "AVAILABLE", "OK", ""))
    return fault_cases.states(healthy(), "spelling", *rows)


def _taken_back() -> Evidence:
    rows = ((41, "AVAILABLE", "OK", ""), (42, "END", "CANCELLED", "Load cancelled before it began"))
    return fault_cases.states(healthy(), "spelling", *rows)


def _first_calls() -> Evidence:
    """Return a host that came back from a restart; the first call of each model builds its graph."""
    fast = {"grpc_rps": 60, "execution_us": {3_000: 0.97, 700_000: 0.03}}
    evidence = of_models(healthy(with_gpus=False), "spelling", *(fast for _number in range(6)))
    for part, values in (("calls", (0, 6)), ("time_usecs", (0, 70_000_000))):
        rows = ([[{}, value]] for value in values)
        evidence = fault_cases.counted(evidence, "spelling", f":tensorflow:core:graph_build_{part}", *rows)
    return evidence


def _small_and_large_models() -> Evidence:
    """Return an instance of a model that takes 2 ms and one that takes 400 ms, of far larger requests."""
    small = {"grpc_rps": 280, "execution_us": {2_000: 1.0}, "rows": 1}
    large = {"grpc_rps": 12, "execution_us": {400_000: 1.0}, "rows": 4_000}
    evidence = of_models(healthy(with_gpus=False), "spelling", small, large)
    # It came back from a restart, and its versions have no records to be warmed up with.
    for name in ("spelling", "spelling1"):
        evidence = put(evidence, f"{SPELLING}/model_files/{name}/versions/41/warmup", False)
    return put(evidence, f"{SPELLING}/unit/started", AT - 100)


def _by_both_ways() -> Evidence:
    """Return an instance whose large model is called by REST, with answers that take little of its time in JSON."""
    fast = {"grpc_rps": 290, "rest_rps": 0, "execution_us": {2_000: 1.0}}
    slow = {"grpc_rps": 0, "rest_rps": 10, "execution_us": {300_000: 1.0}, "rest_overhead_us": 1_500}
    return of_models(healthy(with_gpus=False), "spelling", fast, slow)


def _large_by_rest() -> Evidence:
    """Return an instance whose one model gets large requests by REST and small ones by gRPC."""
    evidence = traffic(healthy(with_gpus=False), "spelling", grpc_rps=200, rest_rps=0, execution_us={1_000: 1.0})
    page = hosts.page(
        "spelling", WINDOW_S, grpc_rps=0, rest_rps=10, execution_us={200_000: 1.0}, rest_overhead_us=1_500
    )
    page = {key: rows for key, rows in page.items() if ":serving:" in key and "warmup" not in key}
    last = f"samples/1/{SPELLING}/metrics"
    return put(evidence, last, _together([hosts.at(evidence, last), page]))


def _hedged() -> Evidence:
    """Return a host whose callers ask two servers at times, and take back the call that is still under way."""
    return traffic(fault_cases.busy(healthy(), "spelling", 0.6), "spelling", error_rps=6, error_status="CANCELLED")


def _swapped_out() -> Evidence:
    """Return a host with memory swapped out that its server does not use, beside a program that uses its own."""
    evidence = grow(healthy(), "vmstat/pswpin", 400)
    return both(evidence, f"{SPELLING}/process/swap_mb", 20)


def _larger_than_estimated() -> Evidence:
    evidence = healthy()
    del evidence["plan"]["allocator"]
    expected = evidence["plan"]["instances"][1]["memory"]["expected_mb"]
    evidence = put(evidence, f"{SPELLING}/allocator", "glibc")
    return both(evidence, f"{SPELLING}/process/rss_mb", expected * 1.6)


def _said_long_ago() -> Evidence:
    """Return a host whose log still has what callers did wrong some time ago."""
    lines = ("Task size 40 is larger than maximum batch size 32", "Unrecognized servable version label: canry")
    return fault_cases.logged(healthy(), "ranker", *lines)


def _starting() -> Evidence:
    """Return an instance that came back 40 s ago and still loads its first version: no port of it is open."""
    evidence = fault_cases.silent(both(healthy(with_gpus=False), f"{SPELLING}/process/age_s", 40.0), "spelling")
    late = {"grpc_health": None, "rest_ms": None, "grpc_ms": None, "error": "refused", "grpc_error": "refused"}
    evidence = put(evidence, f"{SPELLING}/probe", late)
    rows = [row for row in evidence["facts"]["listeners"] if row["pid"] != hosts.PID_OF["spelling"]]
    for task in evidence["samples"][1]["instances"]["spelling"]["tasks"][:2]:
        task["cpu_us"] += WINDOW_S * 1e6
    return put(evidence, "facts/listeners", rows)


def _at_full_power() -> Evidence:
    """Return a host whose GPU computes as much as its board may draw, which costs some clock, as it does all day."""
    evidence = healthy()
    evidence["gpus"][0].update(reasons=0x4, sm_mhz=1250, power_w=699.0, utilisation=99.0)
    return evidence


def _short_of_spare_memory() -> Evidence:
    line = (
        "Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.29GiB. The caller indicates that this is not a "
        "failure, but may mean that there could be performance gains if more memory were available."
    )
    return fault_cases.logged(healthy(), "ranker", line)


def _long_call() -> Evidence:
    """Return an instance that computes one call of a minute, as it does now and then."""
    evidence = traffic(healthy(with_gpus=False), "spelling", grpc_rps=0)
    earlier = hosts.page("spelling", 3600, grpc_rps=0.01, execution_us={60_000_000: 1.0})
    evidence = both(evidence, f"{SPELLING}/metrics", earlier)
    for task in evidence["samples"][1]["instances"]["spelling"]["tasks"][:1]:
        task["cpu_us"] += WINDOW_S * 1e6
    return both(evidence, f"{SPELLING}/sockets", {"established": 1, "unread_bytes": 0, "queued": 0})


def _gateway_of_few_calls() -> Evidence:
    evidence = gateway(("a1", "b1", "b2", "b3"))
    looks = [each["backends"]["ranker"]["servers"] for each in evidence["gateway"]["stats"]]
    for name, calls in zip(looks[1], (44, 22, 20, 24), strict=True):
        looks[1][name]["stot"] = looks[0][name]["stot"] + calls
    return evidence


WELL: dict[str, Callable[[], Evidence]] = {
    "at rest": _idle,
    "with few calls": _few_calls,
    "at full load": _busy,
    "while a version loads": _loading,
    "after a version that did not load": _mended,
    "after a roll-out that was taken back": _taken_back,
    "at the first calls of its models": _first_calls,
    "with a small and a large model": _small_and_large_models,
    "with a model by gRPC and one by REST": _by_both_ways,
    "with small calls by gRPC and large ones by REST": _large_by_rest,
    "with callers that hedge": _hedged,
    "with idle memory swapped out": _swapped_out,
    "with a model larger than estimated": _larger_than_estimated,
    "with old words in its log": _said_long_ago,
    "while a server starts": _starting,
    "with a GPU at full power": _at_full_power,
    "with less GPU memory than could be used": _short_of_spare_memory,
    "with a call of a minute": _long_call,
    "a gateway of few calls": _gateway_of_few_calls,
    "in a container": lambda: put(healthy(virtual="docker"), "facts/clock", {"synchronised": False, "offset_ms": 0.0}),
    "on the first version of cgroups": lambda: healthy(cgroup=1),
}
