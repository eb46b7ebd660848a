# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The survey of the host and the take-over of its servers, each as a playbook runs it."""

from __future__ import annotations

import json
import uuid

import pytest

# The first survey, made once for all tests that only look at it.
_FIRST: dict = {}


@pytest.fixture
def surveyed(site, tmp_path):
    """Return the survey, and the run that has made it."""

    def survey():
        file = tmp_path / f"{uuid.uuid4().hex}.json"
        run = site(playbook="molecule/adopt/survey.yml", adopt_file=str(file))
        assert run.status == 0, run.output
        return json.loads(file.read_text())["survey"]

    return survey


@pytest.fixture
def first(surveyed):
    """Return the survey of the host as prepare.yml has left it."""
    if not _FIRST:
        _FIRST.update(surveyed())
    return _FIRST


@pytest.fixture
def servers(first):
    """Return its servers by the names of their origins."""
    return by_name(first)


@pytest.fixture
def takeover(site, tmp_path):
    """Stop or start an old server; return what the module says, or the run that has failed."""

    def take(server, state, *options):
        file = tmp_path / f"{uuid.uuid4().hex}.json"
        origin = server["origin"]
        asked = {
            "adopt_kind": origin["kind"],
            "adopt_name": origin["name"],
            "adopt_state": state,
            "adopt_file": str(file),
        }
        if state == "stopped":
            known = {"adopt_pid": server["pid"], "adopt_argv_sha256": server["argv_sha256"]}
            asked |= {**known, "adopt_definition": origin["sha256"]}
        run = site(*options, playbook="molecule/adopt/takeover.yml", **asked)
        return json.loads(file.read_text()) if run.status == 0 else run

    return take


def by_name(survey):
    return {server["origin"]["name"]: server for server in survey["servers"]}
