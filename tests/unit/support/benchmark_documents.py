# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documents of benchmarks and of tuning, made up from a queue of known service times; the same ones each time."""

from __future__ import annotations

import math
import random
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import statistics

BEGAN = 1_790_000_000
# Requests a second at which the made-up server is fully used.
CAPACITY = 948
SERVICE_US = 2_600
# Requests that each latency drawn stands for: a tenth of them is enough for a picture, and keeps the tests quick.
WEIGHT = 10
EVIL = '<script>alert("1")</script>&amp;\'"|`x` @all \x1b[31m\u202e'


def latency_us(chance: random.Random, rate: float, slow: float = 1.0) -> int:
    """Return one latency: a service time with a tail, and a wait that grows as the server fills."""
    used = min(rate / CAPACITY, 0.999)
    wait = chance.expovariate(1) * SERVICE_US * used / (1 - used) * 0.55
    return int((SERVICE_US * chance.lognormvariate(0, 0.25) + wait) * slow)


def seconds(chance: random.Random, rate: float, duration: int, slow: float, spell: tuple[int, int]) -> list[Any]:
    """Return what each second saw; from ``spell[0]`` on and before ``spell[1]`` the server was held up."""
    return [_second(chance, t, rate, slow * (4 if spell[0] <= t < spell[1] else 1)) for t in range(duration)]


def _second(chance: random.Random, t: int, rate: float, slow: float) -> dict[str, Any]:
    offered = round(chance.gauss(rate, math.sqrt(rate)))
    histogram = Histogram()
    for _ in range(max(offered // WEIGHT, 1)):
        histogram.record(latency_us(chance, rate, slow), WEIGHT)
    in_flight = round(rate * histogram.mean / 1e6)
    shared = {"t": t, "offered": offered, "late": 0, "open": in_flight, "histogram": histogram.to_json()}
    return {**shared, "ok": histogram.total, "errors": 0}


def result(rate: float, began: float, duration: int = 20, slow: float = 1.0, spell: tuple[int, int] = (0, 0)) -> Any:
    """Return what the load generator measured in one stage."""
    chance = random.Random(f"{rate} {began} {slow}")
    every = seconds(chance, rate, duration + 5, slow, spell)
    whole = Histogram()
    for second in every[5:]:
        whole.add(Histogram.from_json(second["histogram"]))
    return {
        "schema": 1,
        "engine": "own",
        "protocol": "grpc",
        "began": began,
        "warmup_s": 5.0,
        "rate": rate,
        "duration_s": float(duration),
        "offered": whole.total,
        "sent": whole.total,
        "answered": whole.total,
        "ok": whole.total,
        "errors": {},
        "late": round(whole.total * 0.0004),
        "items": whole.total * 8,
        "cpu": [0.22, 0.21],
        "rss_mb": [61.0, 60.5],
        "histogram": whole.to_json(),
        "seconds": every,
        "counters": {"before": {"OK": 100}, "after": {"OK": 100 + sum(each["ok"] for each in every)}},
        "all": {"sent": sum(each["ok"] for each in every), "ok": sum(each["ok"] for each in every)},
        "problems": [],
    }


def stage(name: str, rate: float, began: float, objective_ms: float = 50, **keys: Any) -> dict[str, Any]:
    """Return one stage with its verdict."""
    measured = result(rate, began, **keys)
    histogram = Histogram.from_json(measured["histogram"])
    percentiles = statistics.percentiles(histogram).to_json()
    high = percentiles["p99"]["high"] / 1000 if percentiles["p99"] else 0
    passed = high <= objective_ms
    why = f"the upper bound of p99, {high:.1f} ms, {'keeps' if passed else 'exceeds'} {objective_ms:g} ms"
    if percentiles["p99"] is None:
        why = f"all {histogram.total} requests were answered within {objective_ms:g} ms"
    if not passed:
        for second in measured["seconds"]:
            del second["histogram"]
    return {
        "name": name,
        "rate": rate,
        "verdict": "pass" if passed else "fail",
        "result": measured,
        "remarks": [],
        "why": why,
        "percentiles": percentiles,
        "host": {"throttled_us": 0, "psi_cpu_some_us": 1200, "steal_share": 0.001, "foreign_cpu_share": 0.02},
    }


def conditions() -> dict[str, Any]:
    """Return what a host told about itself."""
    return {
        "plan_digest": "sha256:3b1f9c",
        "server_version": "2.19.1",
        "server_id": "2.19.1-image-8f2c",
        "model_versions": {"ranker": [7]},
        "cpu": "AMD EPYC 9354 32-Core Processor",
        "cpus": "2-5,34-37",
        "governor": "performance",
        "mhz": [3_690, 3_748, 3_790],
        "clocksource": "tsc",
        "kernel": "6.1.0-28-amd64",
        "boost": True,
        "collection_version": "0.2.0",
        "settings": {
            "flags": {"rest_api_num_threads": 65, "tensorflow_intra_op_parallelism": 4},
            "batching": {"max_batch_size": 64, "batch_timeout_micros": 0, "num_batch_threads": 4},
        },
    }


def document(kind: str, stages: list[Any], **keys: Any) -> dict[str, Any]:
    """Return a whole document around stages."""
    calibrated = {"requests_per_s_a_core": 4_420, "cpu_us_a_request": 208, "delay_us": 5_000}
    calibrated |= {"measured_p50_us": 5_021, "error": 0.0042, "overhead_us": 190}
    return {
        "schema": 1,
        "kind": kind,
        "instance": "ranker",
        "model": "ranker",
        "host": "gpu-a01",
        "load_hosts": ["load-1", "load-2"],
        "protocol": "grpc",
        "arrivals": "poisson",
        "began": "2026-09-21T14:13:20Z",
        "ended": "2026-09-21T14:21:45Z",
        "slo_p99_ms": 50,
        "conditions": conditions(),
        "requests": {
            "source": "samples",
            "file": "ranker.jsonl",
            "count": 2_000,
            "digest": "9f2c" * 16,
            "items": {"mean": 8.2, "max": 64},
            "bytes": {"mean": 2_310, "max": 18_220},
        },
        "calibration": {
            "schema": 1,
            "protocols": {"grpc": calibrated, "rest": {"missing": "python3-aiohttp is not installed"}},
        },
        "stages": stages,
        "host_samples": [],
        "events": [],
        "knee": None,
        "shards": None,
        "comparison": None,
        "verdict": "valid",
        "remarks": [],
        **keys,
    }


def knee(slow: float = 1.0) -> dict[str, Any]:
    """Return a search that found the knee, with a spell of throttling and a reload on its way."""
    rates = [("double", rate) for rate in (50, 100, 200, 400, 800, 1600)]
    rates += [("bisect", rate) for rate in (1200, 1000, 860, 830)] + [("confirm", 812)] * 3
    counts: dict[str, int] = {}
    stages = []
    for place, (phase, rate) in enumerate(rates):
        counts[phase] = counts.get(phase, 0) + 1
        keys: dict[str, Any] = {"slow": slow, **({"duration": 9} if rate == 50 else {})}
        spell = (11, 14) if rate == 200 else (0, 0)
        stages.append(stage(f"{phase} {counts[phase]}", rate, BEGAN + place * 32, spell=spell, **keys))
    events = [
        {"at": BEGAN + 2 * 32 + 11, "kind": "throttled", "text": "the CPUs were throttled for 2.1 s"},
        {"at": BEGAN + 6 * 32 + 4, "kind": "reload", "text": "version 8 was loaded beside version 7"},
        {"at": BEGAN + 5 * 32 + 20, "kind": "error burst", "text": "41 requests failed within a second: UNAVAILABLE"},
    ]
    found = {"rate": 812, "low": 790, "high": 830, "p99_us": 44_200, "confirmed": 3, "reason": "confirmed three times"}
    remarks = ["40 of 812 requests a second came late at most, well below 1 %.", "The host ran at 3,748 MHz."]
    stages[5]["result"]["errors"] = {"UNAVAILABLE": 41}
    return document("knee", stages, events=events, knee=found, remarks=remarks)


def fixed(**keys: Any) -> dict[str, Any]:
    """Return one rate, held for a minute."""
    return document("fixed", [stage("fixed", 500, BEGAN, duration=60)], **keys)


def few() -> dict[str, Any]:
    """Return a run that is too short for p99."""
    return document("fixed", [stage("fixed", 20, BEGAN, duration=20)])


def invalid() -> dict[str, Any]:
    """Return a run in which the load host could not keep up."""
    found = fixed(verdict="invalid")
    why = "load-1 used 84 % of its CPU, more than 70 %: the latencies may be its own"
    found["stages"][0] |= {"verdict": "invalid", "why": why}
    found["stages"][0]["result"]["cpu"] = [0.84, 0.81]
    found["remarks"] = ["Give tfserving_load another host, or load_generator_processes a larger number."]
    return found


def before() -> dict[str, Any]:
    """Return the earlier run that ``comparison`` is compared with."""
    return document("fixed", [stage("fixed", 500, BEGAN - 86_400, duration=60, slow=1.24)])


def comparison() -> dict[str, Any]:
    """Return a run that is better than ``before``."""
    compared = {
        "against": "before.json",
        "same_plan": False,
        "smallest_detectable": 0.04,
        "verdict": "better",
        "p99_ratio": {"value": 0.81, "low": 0.76, "high": 0.87},
        "throughput_ratio": None,
        "differences": ["batching.max_batch_size was 32 and is 64", "the plan's digest differs"],
        "reason": "the interval of the ratio of p99 lies below 1",
    }
    return fixed(comparison=compared)


def shards() -> dict[str, Any]:
    """Return one request of 700 items, whole and cut."""
    rows = [(1, 700, 41, 48, 14_600, 1.0, 0.0, None), (2, 350, 22, 27, 12_900, 1.86, 0.12, None)]
    rows += [
        (4, 175, 13, 18, 10_400, 3.15, 0.29, "the best below 55 % of use"),
        (7, 100, 9.5, 14, 8_300, 4.32, 0.43, None),
    ]
    names = ("shards", "items", "p50_us", "p99_us", "capacity_items_per_s", "latency_won", "capacity_lost", "advice")
    table = [dict(zip(names, (*row[:2], row[2] * 1000, row[3] * 1000, *row[4:]))) for row in rows]
    stages = [
        stage(f"block {place + 1}", 60, BEGAN + 30 * place, 80, slow=8.0 / row[0] ** 0.5)
        for place, row in enumerate(rows)
    ]
    return document("shards", stages, shards=table)


def trial(number: int, rate: float | None, batch: int | None, origin: str, outcome: str = "measured") -> dict[str, Any]:
    """Return one trial; its interval is 4 % wide on either side."""
    batching = {"max_batch_size": batch, "batch_timeout_micros": 0, "num_batch_threads": 2} if batch else None
    why = {
        "measured": "ran to its end",
        "stopped early": "the lower bound of p99, 61 ms, exceeds 50 ms",
        "failed": "the server did not start: out of memory",
        "illegal": "max_batch_size 512 exceeds what the callers can fill",
    }[outcome]
    edges = (rate * 0.96, rate * 1.04) if rate else (None, None)
    return {
        "number": number,
        "origin": origin,
        "outcome": outcome,
        "rate": rate,
        "low": edges[0],
        "high": edges[1],
        "settings": {"batching": batching, "threads": {"intra_op": 4, "inter_op": 2}},
        "why": why,
        "p99_us": 46_000 if rate else None,
        "tried_by": None if outcome == "illegal" else "restart",
        "change_s": None if outcome == "illegal" else 8.5,
        "host": [] if outcome == "illegal" else [trial_stage()],
    }


def trial_stage() -> dict[str, Any]:
    """Return what the host told of a stage of a trial."""
    figures = {"throttled_us": 0, "psi_cpu_some_us": 1_200, "steal_share": 0.031, "foreign_cpu_share": None}
    text = "the hypervisor took 3.1% of the CPUs' time for others"
    return {"rate": 900.0, "figures": figures, "remarks": [text]}


def tune() -> dict[str, Any]:
    """Return a search that found better settings than the planned ones."""
    trials = [
        *(trial(1, 610, None, "default"), trial(2, 1_180, 32, "plan"), trial(3, 1_720, 64, "physics")),
        *(trial(4, 1_735, 128, "search"), trial(5, None, 8, "physics", "stopped early")),
        *(trial(6, None, 256, "search", "failed"), trial(7, None, 512, "search", "illegal")),
    ]
    points = [{"items": items, "us": 600 + 55 * items + (items % 3) * 40} for items in (1, 2, 4, 8, 16, 32, 64)]
    found = {"rate": 610, "low": 590, "high": 630, "p99_us": 47_000, "confirmed": 3, "reason": "confirmed three times"}
    return {
        "schema": 1,
        "kind": "tune",
        "instance": "ranker",
        "host": "gpu-a01",
        "slo_p99_ms": 50,
        "began": "2026-09-21T14:13:20Z",
        "ended": "2026-09-21T14:41:05Z",
        "baseline": {"settings": trials[0]["settings"], "knee": found},
        "planned": {"settings": trials[1]["settings"], "knee": {**found, "rate": 1_180, "low": 1_140, "high": 1_220}},
        "service_time": {
            "points": points,
            "a_us": 620,
            "c_us": 55.3,
            "r2": 0.998,
            "sentence": "A call costs 620 us and each item 55 us: batches of 64 pay 10 times.",
        },
        "trials": trials,
        "choice": {
            "trial": 3,
            "reasons": [
                "Trial 3 serves 1,720 requests/s within the objective (1,651 to 1,789), 1.46 times the planned ones.",
                "Trial 4 reaches 1,735, which is within the interval; trial 3 is the less extreme.",
            ],
            "against_planned": {"value": 1.46, "low": 1.37, "high": 1.55},
            "turns": {
                "rate": 1423.0,
                "blocks": 4,
                "block_s": 30.0,
                "planned_p99_us": 61_000,
                "p99_us": 32_000,
                "keeps": True,
                "host": [trial_stage()],
                "p99_ratio": {"value": 0.525, "low": 0.49, "high": 0.56},
                "p50_ratio": {"value": 0.81, "low": 0.79, "high": 0.83},
                "throughput_ratio": {"value": 1.0, "low": 0.999, "high": 1.001},
                "errors_difference": {"value": 0.0, "low": 0.0, "high": 0.0},
                "smallest_detectable": 0.09,
                "verdict": "better",
                "reason": "the whole interval lies below what counts as equal",
            },
        },
        "restored": True,
        "conditions": conditions(),
        "remarks": ["The baseline drifted by 1.2 %."],
        "inventory": "tfserving_instances:\n  - name: ranker\n    batching:\n      max_batch_size: 64\n",
    }


def tune_with_shards() -> dict[str, Any]:
    """Return such a search that measured shards with the chosen settings, and had no time for the plan's."""
    found, chosen = tune(), {"of": "chosen", "best": 4, "sentence": "cut requests into 4 shards of 175 items"}
    planned = {"of": "plan", "best": None, "sentence": "not measured: the time was over", "rows": []}
    settings = [found["trials"][number]["settings"] for number in (2, 1)]
    cuts = [{**chosen, "rows": shards()["shards"], "settings": settings[0]}, {**planned, "settings": settings[1]}]
    return {**found, "shards": cuts}


def hostile(value: Any = None) -> Any:
    """Return the document with everything, each text that comes from elsewhere replaced by a hostile one."""
    found = knee() if value is None else value
    found |= {"instance": EVIL, "model": EVIL, "host": EVIL, "load_hosts": [EVIL], "remarks": [EVIL], "protocol": EVIL}
    found |= {"arrivals": EVIL, "began": EVIL, "ended": EVIL}
    found["conditions"] |= {key: EVIL for key, old in found["conditions"].items() if isinstance(old, str)}
    found["conditions"]["model_versions"] = {EVIL: [1]}
    found["conditions"]["settings"] = {"flags": {EVIL: EVIL}, "batching": {EVIL: EVIL}}
    found["requests"] |= {"file": EVIL, "digest": EVIL}
    found["calibration"]["protocols"] = {EVIL: {"missing": EVIL}}
    found["comparison"] = {**comparison()["comparison"], "against": EVIL, "reason": EVIL, "differences": [EVIL]}
    found["shards"] = [{**row, "advice": EVIL} for row in shards()["shards"]]
    for each in found["stages"]:
        each |= {"name": EVIL, "why": EVIL, "remarks": [EVIL]}
        each["percentiles"]["withheld"] = {"p99": EVIL}
        each["result"] |= {"errors": {EVIL: 1}, "problems": [EVIL], "engine": EVIL}
    for event in found["events"]:
        event["text"] = EVIL
    return found
