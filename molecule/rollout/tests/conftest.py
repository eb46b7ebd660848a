# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Traffic through the gateways of this scenario, and wishes for versions good and bad."""

from __future__ import annotations

import itertools
import json

import pytest
from callers import SERVING, Traffic

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


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else; versions answer them differently."""
    return Traffic(tmp_path, {**known("digits")["request"], "expect": None})


@pytest.fixture
def coming(next_digits, numbers):
    """Return the number of a new version of digits and the wishes for it: sound, or with a fault."""

    def of(archive: str = "digits-2", **rollout) -> tuple[int, list]:
        version = next(numbers)
        return version, [next_digits(version, {**ROLLOUT, **rollout}, archive)]

    return of


@pytest.fixture(scope="session")
def asked(on):
    """What the hosts answer about digits."""

    def ask(path: str) -> list[dict]:
        question = f"curl --silent --fail http://127.0.0.1:8501/v1/models/digits{path}"
        return [json.loads(on(name).check_output(question)) for name in SERVING]

    return ask


@pytest.fixture(scope="session")
def served(asked):
    """The versions of digits that each host serves."""

    def ask() -> list[set[int]]:
        states = [answer["model_version_status"] for answer in asked("")]
        return [{int(each["version"]) for each in host if each["state"] == "AVAILABLE"} for host in states]

    return ask


@pytest.fixture(scope="session")
def numbers(on, served):
    """Numbers of versions that were never tried: one that was taken back is refused from then on."""
    record = on(SERVING[0]).run("cat /var/lib/tfserving-fleet/rollout/digits.json").stdout
    return itertools.count(max([*served()[0], json.loads(record)["new"] if record else 1, 1]) + 1)
