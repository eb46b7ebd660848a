# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of this scenario, traffic through its gateways, and wishes for versions good and bad."""

from __future__ import annotations

import json

import pytest
import testinfra
from callers import CACHE, Traffic, addresses

GATEWAYS = ("molecule-rollout-edge-a", "molecule-rollout-edge-b")
WWW = CACHE / "lab" / "www"
# Short steps of few calls. A tenfold rate of errors is caught all the same; what passes is judged less strictly.
ROLLOUT = {
    "steps": [5, 50, 100],
    "interval": "10s",
    "min_samples": 100,
    "min_healthy_time": "5s",
    "error_ceiling": 0.1,
    "slow_share_over": "100ms",
    "progress_deadline": "300s",
}


@pytest.fixture(scope="session")
def on():
    """A host of the scenario by its name."""
    return lambda name: testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="session")
def gateways():
    """The address of each gateway."""
    return addresses(GATEWAYS)


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else; versions answer them differently."""
    return Traffic(tmp_path, {**known("digits")["request"], "expect": None})


@pytest.fixture
def wishes(tmp_path, known):
    """Wishes for a version of digits: a sound one, or one with a fault, that claims to answer as version 2 does."""
    answers = known("digits")

    def of(version: int, archive: str, **rollout) -> list:
        (folder,) = [name for name in ("models", "bench-models") if (WWW / name / f"{archive}.tar.gz").exists()]
        checksum = json.loads((WWW / folder / "checksums.json").read_text())[f"{archive}.tar.gz"]
        expected = answers["answers"]["1" if archive == "digits-1" else "2"]["predictions"]
        golden = tmp_path / f"digits-{version}.jsonl"
        expect = {name: [row[name] for row in expected] for name in expected[0]}
        golden.write_text(json.dumps({"instances": answers["request"]["instances"], "expect": expect}) + "\n")
        source = {"type": "http", "uri": f"http://packages.lab/{folder}/{archive}.tar.gz", "sha256": checksum}
        return [
            {
                "name": "digits",
                "version": version,
                "source": source,
                "probe": {"instances": answers["request"]["instances"], "expect": expected},
                "rollout": {**ROLLOUT, **rollout},
            }
        ]

    return of
