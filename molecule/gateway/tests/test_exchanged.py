# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version that is exchanged under requests. What that does to latency is measured by `make bench NAME=swaps`."""

from __future__ import annotations

import json

import pytest
from callers import CACHE, SERVING

MODELS = CACHE / "lab/www/models"


@pytest.fixture
def version(known):
    """The inventory's model in a version."""
    sums = json.loads((MODELS / "checksums.json").read_text())

    def wish(number: int) -> list[dict]:
        file = f"digits-{number}.tar.gz"
        return [{
            "name": "digits",
            "version": number,
            "source": {"type": "http", "uri": f"http://packages.lab/models/{file}", "sha256": sums[file]},
            "probe": {
                "instances": known("digits")["request"]["instances"],
                "expect": known("digits")["answers"][str(number)]["predictions"],
            },
        }]  # fmt: skip

    return wish


@pytest.mark.long
def test_no_request_is_lost_while_a_version_is_exchanged(site, traffic, gateways, on, version, shown):
    pids = {name: on(name).check_output("systemctl show --value -p MainPID tfserving@main") for name in SERVING}
    # Two versions answer differently.
    traffic.probe = {**traffic.probe, "expect": None}
    with traffic.flowing(gateways):
        for number in (2, 1):
            exchanged = site(tfserving_models=version(number))
            assert exchanged.status == 0, exchanged.output
            assert exchanged.changed, exchanged.output
    shown(f"a version was exchanged twice on each host: {traffic.lost} lost, {traffic.answered} answered")
    assert traffic.lost == {}
    for name in SERVING:
        assert on(name).check_output("systemctl show --value -p MainPID tfserving@main") == pids[name]
