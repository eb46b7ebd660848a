# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host to break, and a run of diagnose.yml as a user would start it."""

from __future__ import annotations

import json
import uuid

import callers
import pytest
from faulty_host import Machine, Server

# Between the two samples: long enough for some hundred calls, short enough for a fault after another.
SECONDS = 4


@pytest.fixture
def machine(host, known):
    """The host with its two servers, which serve before and after each test."""
    name = "molecule-diagnosis"
    address = callers.addresses([name])[name]
    rows = {model: known(model)["request"]["instances"] for model in ("digits", "ranker")}
    found = Machine(
        host,
        {
            "main": Server(address, "main", 8501, "digits", rows["digits"]),
            "batched": Server(address, "batched", 8511, "ranker", rows["ranker"]),
        },
    )
    found.heals()
    yield found
    found.heals()


@pytest.fixture
def diagnosed(site, tmp_path):
    """Run diagnose.yml; keyword arguments are its variables. Return the document that it leaves."""

    def run(**variables):
        folder = tmp_path / uuid.uuid4().hex
        settings = {"diagnosis_folder": str(folder), "diagnosis_seconds": SECONDS, **variables}
        done = site(playbook="playbooks/diagnose.yml", **settings)
        document = folder / "report.diagnosis.json"
        assert document.exists(), done.output
        found = json.loads(document.read_text())
        assert done.status == found["exit"], done.output
        return found

    return run
