# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model made faster on a serving host: what is published, what is refused, and that the host is as it was.

The whole installs a builder (some 1.5 GB from PyPI) and measures for minutes, so it is left to `make test-long`.
"""

from __future__ import annotations

import json

import pytest
import yaml
from browser import opened

FILES = "find /etc -xdev -type f -exec sha256sum {} + | sort"


@pytest.fixture
def optimize(site, tmp_path):
    given = {"instance": "main", "warmup": "1s", "connections": 2, "output": str(tmp_path / "optimized/main")}
    return lambda **variables: site(playbook="playbooks/optimize_model.yml", **{**given, **variables})


@pytest.mark.long
def test_a_frozen_model_passes_the_gate_and_the_host_is_as_it_was(optimize, host, main, tmp_path):
    files, command = host.check_output(FILES), main.command_line()
    run = optimize()
    assert run.status == 0, run.output
    document = json.loads((tmp_path / "optimized/main.json").read_text())
    assert document["optimised_from"]["version"] == 1
    assert [each["kind"] for each in document["candidates"]] == ["freeze"]
    rows = {row["check"]: row for row in document["candidates"][0]["rows"]}
    # Whether it is faster is a matter of the machine; that everything else holds is not.
    assert all(
        row["passed"] for check, row in rows.items() if check not in ("speed", "slow calls", "time to load", "memory")
    )
    assert rows["speed"]["figure"] is not None, run.output
    assert opened(tmp_path / "optimized/main.html", tmp_path / "page.png") == []
    if document["published"]:
        assert document["version"] == 2
        wish = yaml.safe_load(document["published"]["wish"])
        assert wish["tfserving_models"][0]["source"]["sha256"] == document["published"]["sha256"]
        assert (tmp_path / "optimized/digits-2.tar.gz").exists()
    else:
        assert not list(tmp_path.glob("optimized/*.tar*"))
    assert host.check_output(FILES) == files
    assert main.command_line() == command
    assert host.run("ls /run/tfserving-trial /run/systemd/system/tfserving@main.service.d").rc != 0
    assert not host.file("/var/lib/tfserving/models/.optimised-main").exists
    assert main.states("digits") == {"1": "AVAILABLE"}


def test_a_wish_that_cannot_be_granted_is_refused_before_the_host_is_touched(optimize, main):
    pid = main.pid
    run = optimize(candidates="tflite_int8")
    assert run.status != 0
    assert "without recorded requests nobody can tell what is lost" in run.output
    assert main.pid == pid
