# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import document as schema
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import page
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, physics, result, seeds, space
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed
from tuning_cases import LONG, context, measured, run, site, turned

CONDITIONS = {
    "plan_digest": "0123",
    "server_version": "2.19.1",
    "server_id": "apt-2.19.1",
    "model_versions": {"ranker": [7]},
    "cpu": None,
    "cpus": "1-4",
    "governor": None,
    "mhz": None,
    "clocksource": None,
    "kernel": None,
    "boost": None,
    "collection_version": "0.2.0",
    "settings": {"flags": {}, "batching": None},
}


def searched(place, rates, refused=()):
    """Return a search in which these settings have these knees."""

    def measure(trial):
        if trial.rung == "turns":
            return turned(trial)
        if trial.origin == "physics" and trial.setting not in rates:
            return Failed("failed", "the server did not start", 10)
        return measured(rates.get(trial.setting, 0), place.load.slo_us)

    extra = [seeds.Seed(each, "physics", "a test", 1) for each in rates if each not in (place.single, place.planned)]
    found = seeds.Seeds((*seeds.seeds(place).found[:2], *extra), tuple(refused))
    return run(Search(place, found, LONG, lambda *_: None), measure)


def tuned(place=None, **keys):
    place = place or site(**keys)
    big = physics.shaped(place, 64, 0, 4)
    found = searched(place, {place.single: 640, place.planned: 800, big: 1200})
    return found, choice.choose(found), big


def test_the_file_gives_the_plan_that_was_measured():
    found, chosen, big = tuned()
    text = result.inventory_text(found, chosen, "gpu-1", "2026-11-26", {})
    data = yaml.safe_load(text)
    policy = {"tuned": data["tfserving_tuned"]}
    plan = dataclasses.replace(context(), policy=policy).planned()
    assert space.of_plan(plan) == big
    assert plan["digest"] == context().plan_of(big)["digest"]
    assert plan["overrides"] == []
    assert plan["reasons"]["batching.max_batch_size"].startswith(
        "(tuned) 2026-11-26: 1,200 requests a second against 800 requests a second as planned, p99 within 50 ms; the"
        " plan would have 16"
    )


def test_the_file_reads_as_written():
    found, chosen, _ = tuned()
    text = result.inventory_text(found, chosen, "gpu-1", "2026-11-26", {})
    assert text.startswith(
        "---\n# Found by measurement on gpu-1, 2026-11-26, instance ranker. Review, and commit with the evidence.\n"
        "# - 1,200 requests a second [1,176 to 1,224] within p99 of 50 ms\n"
    )
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "tfserving_tuned:\n  ranker:\n    batching:\n      max_batch_size: 64\n" in text


def test_the_entries_of_other_instances_stay_and_an_older_one_goes():
    found, chosen, _ = tuned()
    before = {"other": {"flags": {"grpc_max_threads": 9}}, "ranker": {"measured": "old"}}
    data = yaml.safe_load(result.inventory_text(found, chosen, "gpu-1", "2026-11-26", before))
    assert list(data["tfserving_tuned"]) == ["other", "ranker"]
    assert data["tfserving_tuned"]["other"] == before["other"]
    assert "old" not in data["tfserving_tuned"]["ranker"]["measured"]


def test_no_batching_is_written_as_such():
    place = site(fixed_us=10, item_us=2000)
    found = searched(place, {place.single: 2000, place.planned: 1500})
    data = yaml.safe_load(result.inventory_text(found, choice.choose(found), "gpu-1", "2026-11-26", None))
    assert data["tfserving_tuned"]["ranker"]["batching"] == {"enabled": False}


@pytest.mark.parametrize("rates", [{"planned": 1000}, {}])
def test_where_the_plan_stays_there_is_no_file(rates):
    place = site()
    found = searched(place, {place.planned: rates["planned"]} if rates else {})
    assert result.inventory_text(found, choice.choose(found), "gpu-1", "2026-11-26", {}) is None


def test_a_remark_cannot_leave_its_comment():
    found, chosen, _ = tuned()
    found._remarks.append("odd\nname: injected\x1b[31m")
    text = result.inventory_text(found, chosen, "gpu-1", "2026-11-26", {})
    assert list(yaml.safe_load(text)) == ["tfserving_tuned"]
    assert "\x1b" not in text


def test_what_the_inventory_sets_itself_is_pointed_out():
    found, chosen, _ = tuned(batching={"max_batch_size": 8}, flags={"grpc_max_threads": 300})
    assert result.hidden(found.site.context, chosen.setting) == [
        "tfserving_instances[0].batching.max_batch_size is set in the inventory and comes before tfserving_tuned;"
        " remove it to use 64",
        "tfserving_instances[0].flags.grpc_max_threads is set in the inventory and comes before tfserving_tuned;"
        f" remove it to use {chosen.setting.grpc}",
    ]
    assert "# - Note: tfserving_instances[0]" in result.inventory_text(found, chosen, "gpu-1", "2026-11-26", {})
    off, its, _ = tuned(batching={"enabled": False})
    assert result.hidden(off.site.context, its.setting) == [
        "tfserving_instances[0].batching.enabled is false in the inventory; remove it to form batches"
    ]
    assert result.hidden(context(), None) == []


def written(found, chosen, **changes):
    return {
        **result.document(
            found,
            chosen,
            host="gpu-1",
            began="2026-11-26T12:00:00Z",
            ended="2026-11-26T12:30:00Z",
            conditions=CONDITIONS,
            restored=True,
            inventory="tfserving_tuned: {}",
        ),
        **changes,
    }


def test_the_document_is_one_that_the_reports_take():
    found, chosen, big = tuned()
    data = written(found, chosen)
    assert schema.checked(data, "tune") is data
    assert data["baseline"]["knee"]["rate"] == 640
    assert data["planned"]["settings"] == found.site.planned.to_json()
    assert data["choice"]["against_planned"]["value"] == 1.5
    row = next(each for each in data["trials"] if each["number"] == data["choice"]["trial"])
    assert row["settings"] == big.to_json()
    assert row["rate"] == 1200
    assert row["why"].startswith("final 3: one of the best, against the others in turn; physics expects ")
    assert "1,200" in page.page(data).replace("&#44;", ",")


def test_the_document_of_a_search_without_success_is_one_too():
    place = site()
    found = searched(place, {}, [(place.planned.with_batches(num_batch_threads=99), "too many threads")])
    data = written(found, choice.choose(found), inventory=None, restored=False)
    assert schema.checked(data, "tune") is data
    assert data["baseline"]["knee"] is None
    assert data["choice"]["trial"] is None
    assert data["trials"][-1]["outcome"] == "illegal"
    assert data["trials"][-1]["why"] == "too many threads"
    assert data["trials"][-1]["number"] == len(data["trials"])
    assert data["trials"][0]["rate"] is None
    assert "the planner refused 1 starting point" in data["remarks"]


def test_predictions_are_set_against_what_was_measured():
    place = site()
    found = searched(
        place, {place.single: place.predicted(place.single), place.planned: place.predicted(place.planned) / 2}
    )
    assert result.predictions(found) == ["of 2 predicted knees the farthest was 2.00 times the measured one"]
