# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of variables in benchmark.md, tuning.md and profile.md have what the playbooks take, with its defaults."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options, purposes
from repository import REPOSITORY

# Variables that tune.yml alone has.
OF_TUNING = {"search", "trials", "stage"}
# Variables of a benchmark that a tuning has no use for.
OF_BENCHMARKS = {"rate", "duration", "against", "against_host", "despite_differences"}
# The one that profile.yml alone has.
OF_TRACES = {"seconds"}
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| .* \|$", re.MULTILINE)


def page(name):
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def table(text, heading):
    """Return the defaults in the first table below a heading, by variable."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = ROW.findall(section)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def default_of(name, purpose):
    """Return what stands for a variable that is not given, as the page should have it; None where that depends."""
    usual = {
        "budget": options.BUDGETS_S[purpose],
        "duration": options.USUAL_DURATION_S,
        "output": options.OUTPUTS[purpose].format(instance="INSTANCE"),
    }
    return usual.get(name, options.FIELDS[name][1])


def told(name, cell):
    """Return the default that a cell states as a value, as the playbook would read it; None where it states none."""
    found = re.match(r"`([^`]+)`", cell)
    return options.FIELDS[name][0](name, found[1]) if found else None


BENCHMARK = table(page("benchmark.md"), "Options")
TUNING = table(page("tuning.md"), "Options")
TRACES = table(page("profile.md"), "Options")


def test_the_variables_of_one_playbook_are_refused_by_the_other():
    assert set(purposes.ELSEWHERE["benchmark"]) == OF_TUNING | OF_TRACES
    assert set(purposes.ELSEWHERE["tune"]) == OF_BENCHMARKS | OF_TRACES


def test_the_page_of_benchmarks_has_every_variable_of_theirs_and_no_other():
    assert set(BENCHMARK) == set(options.FIELDS) - OF_TUNING - OF_TRACES


def test_the_page_of_traces_has_its_own_and_names_those_of_benchmarks():
    shared = page("profile.md").split("\n## Options\n")[1].split("are as for")[0]
    named = set(re.findall(r"`(\w+)`", shared.split("side by side. |\n")[1]))
    names = named | {name for name in options.FIELDS if name.startswith("tls_")}
    assert names | set(TRACES) == set(options.FIELDS) - set(purposes.ELSEWHERE["profile"])


def test_the_page_of_tuning_has_its_own_and_names_those_of_benchmarks():
    (shared,) = re.findall(r"^These are as for .*?\.\s", page("tuning.md"), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+)`", shared))
    assert not named & set(TUNING)
    assert named | set(TUNING) == set(options.FIELDS) - OF_BENCHMARKS - OF_TRACES


@pytest.mark.parametrize(
    ("purpose", "name", "cell"),
    [
        *(("benchmark", name, cell) for name, cell in BENCHMARK.items()),
        *(("tune", name, cell) for name, cell in TUNING.items()),
    ],
)
def test_defaults_are_those_of_the_code(purpose, name, cell):
    if name == "signature":  # the code of requests falls back on it
        assert cell.startswith("`serving_default`")
    else:
        assert told(name, cell) == default_of(name, purpose)


@pytest.mark.parametrize(
    ("playbook", "other"),
    [
        ("benchmark", OF_TUNING | OF_TRACES),
        ("tune", OF_BENCHMARKS | OF_TRACES),
        ("profile", set(purposes.ELSEWHERE["profile"])),
    ],
)
def test_the_head_of_a_playbook_names_its_variables(playbook, other):
    head = (REPOSITORY / f"playbooks/{playbook}.yml").read_text(encoding="utf-8").split("\n- name:")[0]
    words = set(re.findall(r"[a-z_]+", head))
    assert set(options.FIELDS) - other <= words


def test_the_variables_of_load_hosts_are_those_of_the_role():
    of_role = yaml.safe_load((REPOSITORY / "roles/load_generator/defaults/main.yml").read_text(encoding="utf-8"))
    # The playbook sets it by the engine.
    del of_role["load_generator_h2load"]
    stated = table(page("benchmark.md"), "Where the load comes from")
    assert {name: cell.strip("`") for name, cell in stated.items()} == of_role
