# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/benchmark.md explains every key of a benchmark's document, and no other."""

from __future__ import annotations

import re
from typing import get_args, get_type_hints

import pytest
import typed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import document, measured
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "benchmark.md").read_text(encoding="utf-8")
# The headings of the tables, and the types that they explain.
PARTS = {
    "A benchmark": document.Document,
    "Conditions": document.Conditions,
    "Calibration": document.Calibration,
    "Calibration of a protocol": document.Calibrated,
    "A stage": measured.Stage,
    "A result": measured.StageResult,
    "A second": measured.Second,
    "A histogram": measured.HistogramData,
    "Percentiles": measured.Percentiles,
    "The host during a stage": measured.StageHost,
    "A sample of the host": document.HostSample,
    "The knee": document.Knee,
    "A way to cut a request": document.ShardRow,
    "A comparison": document.Comparison,
    "The other instance": document.Other,
    "A side": document.TurnsRow,
    "Tuning": document.Tune,
    "Shards with some settings": document.Cuts,
    "Time of a call": document.ServiceTime,
    "A trial": document.Trial,
    "The choice": document.Choice,
    "The turns": document.Turns,
}


def rows(heading):
    """Yield the paths that each row of a table explains, and what it says of them."""
    section = PAGE.split(f"### {heading}\n")[1].split("\n### ")[0]
    for keys, meaning in re.findall(r"^\| (`.*?`) \| (.*) \|$", section, re.M):
        first = ""
        for name in re.findall(r"`([^`]+)`", keys):
            path = name if name == "p99.9" or not name.startswith(".") else f"{first}{name}"
            first = path.rpartition(".")[0] or first
            yield path, meaning


def type_at(part, path):
    for key in [path] if path in get_type_hints(part) else path.split("."):
        part = get_type_hints(part)[key]
    return part


def parts_of(hint):
    """Return the TypedDicts that a type is made of."""
    found = [hint] if hasattr(hint, "__required_keys__") else []
    return found + [each for inner in get_args(hint) for each in parts_of(inner)]


@pytest.mark.parametrize("heading", PARTS)
def test_every_key_is_explained_and_no_other(heading):
    explained = [path for path, _meaning in rows(heading)]
    hints = get_type_hints(PARTS[heading])
    assert {path if path in hints else path.partition(".")[0] for path in explained} == set(hints)
    assert len(set(explained)) == len(explained)
    for path in explained:
        type_at(PARTS[heading], path)  # KeyError where there is none


@pytest.mark.parametrize("heading", PARTS)
def test_keys_of_small_parts_are_explained_with_what_they_belong_to(heading):
    told = list(rows(heading))
    explained = {path for path, _meaning in told}
    for path, meaning in told:
        for part in parts_of(type_at(PARTS[heading], path)):
            if part not in (*PARTS.values(), measured.Ratio, document.TrialSettings):
                assert all(f"`{key}`" in meaning or f"{path}.{key}" in explained for key in get_type_hints(part)), path


@pytest.mark.parametrize("heading", PARTS)
def test_what_may_be_null_is_said_to_be(heading):
    for path, meaning in rows(heading):
        said = re.sub(r"\(.*?\)", "", meaning)
        assert (type(None) in typed.options(type_at(PARTS[heading], path))) == ("null" in said.lower()), path
