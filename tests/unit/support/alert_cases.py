# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cases of alerts, as data in ``plugin_utils/signals/alert_cases/SUBJECT.yml``, and the files promtool reads.

A case is one timeline in which an alert fires and then resolves, and a second one just below its threshold::

    NAME:
      labels: {host: gpu-1}            # of the alert that is expected
      series:                          # as promtool writes them; a sample every step, 15 s unless it is said
        'up{$T}': 1x40                 # the same in both timelines
        'up{$G}': [1x4 0x20 1x20, 1x4 0 1x40]   # the fault and its end; just below the threshold
      fires: 3m
      resolves: 8m
      step: 1m                         # where a timeline is hours long: of samples and evaluations
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Objective
from repository import REPOSITORY

FOLDER = REPOSITORY / "tests" / "unit" / "plugin_utils" / "signals" / "alert_cases"
OBJECTIVES = (
    Objective("ranker", ("dense",), 100, 0.999, 64, 2000, 4),
    Objective("edge", ("wide",), 121.44, 0.99, None, None, None),
)
KEYS = {"labels", "series", "fires", "resolves"}
# As the scrapes and the evaluations of a monitoring host.
STEP = "15s"
# A target of the server, an instance by the collector, a host, and HAProxy.
_SHORT = {
    "$T": 'job="tfserving",instance="gpu-1.ranker",host="gpu-1",serving_instance="ranker"',
    "$I": 'job="node",instance="gpu-1",host="gpu-1",role="serving",serving_instance="ranker"',
    "$N": 'job="node",instance="gpu-1",host="gpu-1",role="serving"',
    "$G": 'job="haproxy",instance="gw-1",host="gw-1"',
    "$P": 'job="prometheus",instance="mon-1",host="mon-1"',
    "$A": 'job="alertmanager",instance="mon-1",host="mon-1"',
}


def cases(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return the cases of all alerts, by name."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.yml")):
        # All of it is text: to other loaders 0x60 is a number.
        found.update(yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.BaseLoader))
    return found


def seconds(text: str) -> int:
    """Return a duration of Prometheus as seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))


def lacking(case: dict[str, Any]) -> str:
    """Return what a case lacks to show that its alert fires, stays silent just below, and resolves; or nothing."""
    if set(case) - {"step"} != KEYS:
        return f"has the keys {sorted(case)}, not {sorted(KEYS)}"
    if not any(isinstance(values, list) and len({*values}) == 2 for values in case["series"].values()):
        return "has no series whose timeline differs just below the threshold"
    if seconds(case["fires"]) >= seconds(case["resolves"]):
        return "resolves before it fires"
    return ""


def write(folder: Path, some: dict[str, dict[str, Any]]) -> list[Path]:
    """Write the rules that each alert needs, and its test, into a folder; return the tests."""
    made = rules.files(OBJECTIVES)
    recorded = [rule for group in yaml.safe_load(made[rules.RECORDING])["groups"] for rule in group["rules"]]
    alerts = {
        rule["alert"]: rule for group in yaml.safe_load(made[rules.ALERTING])["groups"] for rule in group["rules"]
    }
    return [_write(folder, name, case, _needed(alerts[name], recorded)) for name, case in some.items()]


def _needed(alert: dict[str, Any], recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an alert behind the recording rules that it uses, directly or not, in their order."""
    wanted, names = set(), {rule["record"] for rule in recorded}
    todo = [alert["expr"]]
    while todo:
        text = todo.pop()
        for name in names - wanted:
            if re.search(rf"(?<![\w:]){re.escape(name)}(?![\w:])", text):
                wanted.add(name)
                todo.extend(rule["expr"] for rule in recorded if rule["record"] == name)
    return [*(rule for rule in recorded if rule["record"] in wanted), alert]


def _write(folder: Path, name: str, case: dict[str, Any], needed: list[dict[str, Any]]) -> Path:
    step = case.get("step", STEP)
    _dump(folder / f"{name}.rules.yml", {"groups": [{"name": "case", "interval": step, "rules": needed}]})
    path = folder / f"{name}.test.yml"
    matchers = ",".join(f'{key}="{value}"' for key, value in case["labels"].items())
    firing = f'sum(ALERTS{{alertname="{name}",alertstate="firing",{matchers}}}) or vector(0)'
    fires, resolves = case["fires"], case["resolves"]
    tests = [
        _timeline(f"{name} fires and resolves", case, 0, [(fires, firing, 1), (resolves, firing, 0)]),
        _timeline(f"{name} stays silent just below", case, 1, [(fires, firing, 0)]),
    ]
    _dump(path, {"rule_files": [f"{name}.rules.yml"], "evaluation_interval": step, "tests": tests})
    return path


def _timeline(title: str, case: dict[str, Any], which: int, asked: list[tuple[str, str, int]]) -> dict[str, Any]:
    series = [
        {"series": long(key), "values": str(values[which] if isinstance(values, list) else values)}
        for key, values in case["series"].items()
    ]
    return {
        "name": title,
        "interval": case.get("step", STEP),
        "input_series": series,
        "promql_expr_test": [
            {"expr": expr, "eval_time": moment, "exp_samples": [{"labels": "{}", "value": value}]}
            for moment, expr, value in asked
        ],
    }


def long(text: str) -> str:
    """Return the name of a series with its short labels written out."""
    for short, labels in _SHORT.items():
        text = text.replace(short, labels)
    return text


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=2**16), encoding="utf-8")
