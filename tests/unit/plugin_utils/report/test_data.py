# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What pipelines are given of a plan: the document, the comment, and whether anything would change."""

from __future__ import annotations

import copy
import json
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.data import data
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.markdown import LONGEST, cell, code, markdown
from plan_report_cases import INSTANCES, MODELS, gpu_host, in_force
from planner_cases import instance, model

NEWER = [model("ranker", version=8, memory_mb=6_000), *MODELS[1:]]
SECRET = "s3cr3t-value"


@pytest.fixture(scope="module")
def host():
    return gpu_host()


def test_the_plan_in_force_changes_nothing(host):
    document = data({"a": in_force(host, host)})
    assert (document["would_change"], document["changing"]) == (False, [])
    assert {each["effect"] for each in document["hosts"]["a"]["instances"]} == {"none"}


def test_a_document_names_what_changes_and_who_is_missing(host):
    document = data({"a": in_force(gpu_host(models=NEWER), host), "b": in_force(host, host)}, ["z", "y"])
    assert (document["schema"], document["would_change"], document["changing"]) == (1, True, ["a"])
    assert document["missing"] == ["y", "z"]
    a = document["hosts"]["a"]
    ranker = next(each for each in a["instances"] if each["name"] == "ranker")
    assert ranker["effect"] == "reload"
    assert {"path": "models.ranker.serve", "before": "versions 7", "after": "versions 8"} in ranker["changes"]
    assert a["plan"]["server"]["version"] == "2.19.1"


def test_a_document_is_json_and_has_no_secret_in_it():
    models = [
        model(
            "ranker",
            version=7,
            source={"type": "http", "uri": f"https://m.example/r.tar.gz?{SECRET}", "sha256": "a" * 64},
        )
    ]
    instances = [instance("ranker", ["ranker"], environment={"TOKEN": SECRET})]
    text = json.dumps(data({"a": gpu_host(instances=instances, models=models)}), allow_nan=False)
    assert SECRET not in text
    assert "m.example" not in text
    assert "hmac:" not in text
    assert '"TOKEN": "(not shown)"' in text


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        (("kernel", "sysctl", 0, "value"), "1024", ("kernel.sysctl.net.core.somaxconn", "1024", "16384")),
        (("partition", "mode"), "none", ("partition.mode", "none", "cpuset")),
        (("kernel", "sysctl"), [7, None], None),
        (("kernel",), "no kernel", None),
    ],
)
def test_settings_of_the_host_count_whatever_its_record_holds(host, path, value, shown):
    before = copy.deepcopy(host)
    *way, last = path
    place = before["plan"]
    for step in way:
        place = place[step]
    place[last] = value
    found = data({"a": in_force(host, before)})
    assert found["would_change"]
    if shown:
        assert dict(zip(("path", "before", "after"), shown)) in found["hosts"]["a"]["host"]


def test_another_wording_of_a_reason_is_no_change(host):
    before = copy.deepcopy(host)
    before["plan"]["kernel"]["sysctl"][0]["reason"] = "in other words"
    before["plan"]["partition"]["reason"] = "in other words"
    # Of a record that an earlier release has written.
    del before["plan"]["kernel"]["exclude"], before["plan"]["partition"]["exclude"]
    assert not data({"a": in_force(host, before)})["would_change"]


# The comment ---------------------------------------------------------------------------------------------------------


def test_a_comment_says_what_happens_to_whom(host):
    hosts = {"a1": in_force(gpu_host(models=NEWER), host), "a2": in_force(host, host)}
    text = markdown(groups.read(hosts, ["z"]))
    assert text.startswith("## Plan: 1 of 2 hosts would change\n")
    assert "\n**Not planned**, see the log of the run: `z`\n" in text
    assert "\n### `a1`\n" in text
    assert "| `ranker` | hot reload | `models.ranker.serve` `versions 7` → `versions 8` |" in text
    assert text.endswith("\nUnchanged: `a2`\n")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("2-31", "`2-31`"),
        ("", ""),
        ("@all <img src=x> [a](b)\n/merge", "`@all <img src=x> [a](b) /merge`"),
        ("a`b", "``a`b``"),
        ("``a", "``` ``a ```"),
        ("`", "`` ` ``"),
    ],
)
def test_foreign_text_is_code(text, span):
    assert code(text) == span


def test_a_bar_ends_no_cell():
    assert cell("a|b") == "`a\\|b`"


def test_a_comment_with_hostile_names_has_no_markup_outside_of_code():
    hostile = "x` <b>@all</b> | [l](http://e) `y"
    host = gpu_host(instances=INSTANCES)
    host["plan"]["warnings"] = [hostile]
    host["plan"]["instances"][0]["name"] = hostile
    text = markdown(groups.read({"a": host}))
    outside = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
    assert "@all" in text
    assert not re.search(r"<b>|@all|\[l\]", outside), outside


def test_a_comment_is_cut_where_a_forge_takes_no_more(host):
    hosts = {}
    for number in range(40):
        before = copy.deepcopy(host)
        for place, each in enumerate(before["plan"]["instances"]):
            each["threads"] = {name: 1000 + number + place for name in each["threads"]}
            each["batching"] = None
            each["flags"] = {**each["flags"], **{f"flag_{extra}": number for extra in range(20)}}
            each["reasons"] = {**each["reasons"], **{f"flags.flag_{extra}": "r" for extra in range(20)}}
        hosts[f"host{number}x{number}"] = in_force(host, before)
    text = markdown(groups.read(hosts))
    assert len(text) <= LONGEST
    assert re.search(r"\d+ parts left out; the log of the run has the rest\.\n$", text)
