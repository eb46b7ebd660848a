# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""All rules at once, over a fleet with everything in it twice: no join may meet two series where it wants one."""

from __future__ import annotations

import re
import subprocess

import alert_cases
import promtools
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import rules

TWICE = (("gpu-1", "gpu-2"), ("gw-1", "gw-2"), ("mon-1", "mon-2"), ("ranker", "edge"), ('gpu="0"', 'gpu="1"'))
# The longest timelines are days; what goes wrong with joins goes wrong at once.
SAMPLES = re.compile(r"x\d+")


def doubled(series: dict[str, str]) -> dict[str, str]:
    """Return the series, and those of another host, gateway, instance or GPU beside each."""
    for one, other in TWICE:
        series = {**series, **{name.replace(one, other): values for name, values in series.items()}}
    return series


def everything() -> dict[str, str]:
    """Return the series of all cases, faults included, on twice of everything."""
    found: dict[str, str] = {}
    for case in alert_cases.cases().values():
        for name, values in case["series"].items():
            first = values[0] if isinstance(values, list) else values
            found.setdefault(alert_cases.long(name), SAMPLES.sub("x20", first))
    return doubled(found)


@pytest.mark.parametrize("version", promtools.PACKAGES)
def test_rules_can_be_evaluated_where_everything_is_there_twice(tmp_path, version):
    made = rules.files(alert_cases.OBJECTIVES)
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    asked = {"expr": 'count(tfserving:slo_verdict{verdict="met"})', "eval_time": "6m"}
    test = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in everything().items()],
        "promql_expr_test": [{**asked, "exp_samples": [{"labels": "{}", "value": 2}]}],
    }
    content = {"rule_files": list(made), "evaluation_interval": "15s", "tests": [test]}
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(content, width=2**16), encoding="utf-8")
    done = subprocess.run(
        [promtools.program(version), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
