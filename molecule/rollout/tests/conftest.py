# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Traffic through the gateways of this scenario, and wishes for versions good and bad."""

from __future__ import annotations

import itertools
import json

import pytest
from callers import CACHE, SERVING, Traffic

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


@pytest.fixture
def traffic(tmp_path, known):
    """Requests that flow while a test does something else; versions answer them differently."""
    return Traffic(tmp_path, {**known("digits")["request"], "expect": None})


@pytest.fixture
def coming(tmp_path, known, numbers):
    """Return the number of a new version of digits and the wishes for it: sound, or with a fault.

    It claims to answer as the lab's version 2 does.
    """
    answers = known("digits")

    def of(archive: str = "digits-2", **rollout) -> tuple[int, list]:
        version = next(numbers)
        (folder,) = [name for name in ("models", "bench-models") if (WWW / name / f"{archive}.tar.gz").exists()]
        checksum = json.loads((WWW / folder / "checksums.json").read_text())[f"{archive}.tar.gz"]
        expected = answers["answers"]["2"]["predictions"]
        golden = tmp_path / f"digits-{version}.jsonl"
        expect = {name: [row[name] for row in expected] for name in expected[0]}
        golden.write_text(json.dumps({"instances": answers["request"]["instances"], "expect": expect}) + "\n")
        source = {"type": "path", "uri": str(WWW / folder / f"{archive}.tar.gz"), "sha256": checksum}
        return version, [
            {
                "name": "digits",
                "version": version,
                "source": source,
                "golden": str(golden),
                "rollout": {**ROLLOUT, **rollout},
            }
        ]

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
