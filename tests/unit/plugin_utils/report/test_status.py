# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What people see at the end of a run."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import Caller
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import status
from repository import REPOSITORY

SERVING = {
    "name": "ranker",
    "version": "2.19.1",
    "cpus": "2-3",
    "allocator": "jemalloc",
    "rss_mb": 812,
    "problem": "",
    "models": [
        {
            "name": "ranker",
            "versions": [{"version": 1, "state": "END"}, {"version": 2, "state": "AVAILABLE"}],
            "probe": {"ok": True, "median_ms": 21.26, "answer": "[[0.5]]"},
        }
    ],
}


def status_table(hosts, caller=Caller(REPOSITORY), missing=()):  # noqa: B008
    return status.status_table(hosts, missing, caller)


def line_of(table: str, word: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(word))


def test_a_serving_instance_shows_what_it_serves_and_how_fast():
    assert line_of(status_table({"lab-a": {"instances": [SERVING]}}), "lab-a").split() == [
        "lab-a", "ranker", "2.19.1", "ranker", "2", "2-3", "jemalloc", "812", "MiB", "[[0.5]]", "21.3", "ms",
    ]  # fmt: skip


def test_only_versions_that_serve_are_shown():
    assert " 1 " not in line_of(status_table({"lab-a": {"instances": [SERVING]}}), "lab-a")


def test_an_instance_that_is_down_says_why_below_the_table():
    down = {"name": "ranker", "problem": "the unit is failed, exit status 255", "models": []}
    assert "  lab-a ranker: the unit is failed, exit status 255" in status_table({"lab-a": {"instances": [down]}})


def test_a_failed_prediction_cannot_be_taken_for_an_answer():
    failing = {**SERVING, "models": [{"name": "ranker", "probe": {"ok": False, "answer": "[[0.1]]"}}]}
    assert "FAILED" in line_of(status_table({"lab-a": {"instances": [failing]}}), "lab-a")


def test_a_host_without_a_plan_is_told_what_to_run():
    assert "  lab-b: no plan is in force; run site.yml" in status_table({"lab-b": {"instances": []}})


def test_who_has_no_clone_is_told_other_names():
    table = status_table({"lab-b": {"instances": []}}, Caller(None))
    assert "  lab-b: no plan is in force; run tfserving.fleet.site" in table
    assert "-i INVENTORY tfserving.fleet.status " in table
    assert "  https://github.com/tfserving/fleet/blob/main/docs/wishes.md " in table
    assert "-i INVENTORY playbooks/status.yml " in status_table({})


def test_a_host_that_cannot_be_reached_is_in_the_table_and_below():
    table = status_table({"lab-b": {"unreachable": True, "msg": "timed out"}})
    assert line_of(table, "lab-b")
    assert "  lab-b: timed out" in table
    assert "no plan" not in table


def test_hosts_without_an_answer_have_a_row_and_a_line():
    table = status_table({"lab-a": {"instances": [SERVING]}}, missing=["lab-b", "lab-c"])
    assert line_of(table, "lab-b").split() == ["lab-b", *["-"] * 9]
    assert "\n\nNo answer, see the messages above:\n  lab-b, lab-c\n\nNext:" in table
    assert "No answer" not in status_table({"lab-a": {"instances": [SERVING]}})


def test_a_healthy_fleet_has_no_problems_to_list():
    assert "Problems:" not in status_table({"lab-a": {"instances": [SERVING]}})


FORGED = "boom\x1b[2K\rlab-a  ranker\nlab-b  ranker  2.19.1  all is well\u202e"


def test_what_a_model_says_forges_no_row_and_moves_no_cursor():
    model = {
        "name": "ran\nker",
        "versions": [{"version": "7\nlab-c", "state": "AVAILABLE"}],
        "probe": {"ok": True, "answer": FORGED[:20]},
    }
    hosts = {
        "lab-a": {"instances": [{**SERVING, "models": [model], "problem": FORGED}]},
        "lab-d": {"failed": True, "msg": FORGED},
    }
    table = status_table(hosts)
    assert table.replace("\n", "").isprintable()
    assert not [line for line in table.splitlines() if line.startswith(("lab-b", "lab-c"))]
    assert r"  lab-a ranker: boom\x1b[2K\rlab-a  ranker\nlab-b  ranker  2.19.1  all is well\u202e" in table


def test_the_columns_stay_aligned_with_what_is_spelt_out():
    odd = {**SERVING, "version": "2\x1b[0m"}
    lines = status_table({"lab-a": {"instances": [SERVING]}, "lab-b": {"instances": [odd]}}).splitlines()[2:4]
    assert lines[0].index("2-3") == lines[1].index("2-3")
