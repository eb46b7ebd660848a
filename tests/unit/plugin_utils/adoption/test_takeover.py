# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A take-over stops what was adopted and nothing else, and refuses the rest before anything changes."""

from __future__ import annotations

import copy
import json

import adopted_servers as old
import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import publish, takeover
from planner_cases import box

ONE = ("--port=9000", "--model_name=ranker", "--model_base_path=/models/ranker")


def before(**keys):
    return old.unit(*ONE, argv_sha256="a1", **keys)


def new(*versions, port=18500, name="ranker"):
    """Return an instance of the collection that runs beside the old server."""
    return old.unit(
        f"--port={port}",
        name=f"tfserving@{name}.service",
        serves=old.serving("ranker", *versions),
        listening=[{"address": "0.0.0.0", "port": port, "kind": "grpc"}],
    )


@pytest.fixture
def folder(tmp_path):
    place = str(tmp_path / "adopted")
    publish.publish(place, {"gpu-a01": old.survey(before())}, {"gpu-a01": box(1)}, {})
    return place


def steps(folder, *servers, state="stopped", only=(), host="gpu-a01"):
    return takeover.steps(takeover.read(folder), host, old.survey(*servers), list(only), state)


def refusal(folder, *servers, **keys):
    with pytest.raises(WishError) as caught:
        steps(folder, *servers, **keys)
    return str(caught.value)


def test_an_old_server_with_its_instance_beside_it_is_stopped(folder):
    (step,) = steps(folder, before(), new())
    assert step == {
        "server": "ranker",
        "instance": "ranker",
        "kind": "systemd",
        "name": "ranker.service",
        "pid": 4711,
        "argv_sha256": "a1",
        "definition": "",
        "ports": [9000],
        "callers": [9000],
        "new": [18500],
    }
    assert takeover.sentence("gpu-a01", step, "stopped") == (
        "gpu-a01: ranker ends. Whoever calls it on 9000 has to call ranker on 18500, or a gateway"
    )


def test_what_does_not_run_any_more_needs_no_step(folder):
    assert steps(folder, new()) == []


@pytest.mark.parametrize(
    ("servers", "says"),
    [
        ([before()], "tfserving_instances: the instance ranker does not run beside ranker; run site.yml with"),
        ([before(), new(3)], "tfserving_models: the instance ranker does not serve ranker 4, which ranker does"),
        ([{**before(), "argv_sha256": "b2"}, new()], "adopt_dir: ranker has another command line than it had when it"),
    ],
)
def test_a_take_over_that_would_lose_something_is_refused(folder, servers, says):
    assert refusal(folder, *servers).startswith(says)


def test_a_name_that_was_not_adopted_is_refused(folder):
    assert refusal(folder, before(), new(), only=["rankr"]) == (
        "adopt_only: rankr is no server that was adopted on gpu-a01; did you mean 'ranker'?"
    )
    assert refusal(folder, host="other").startswith("adopt_dir: has no server of other; adopt the host")


def test_the_way_back_starts_what_was_adopted(folder):
    (step,) = steps(folder, new(), state="started")
    assert (step["kind"], step["name"], step["callers"]) == ("systemd", "ranker.service", [9000])
    assert takeover.sentence("gpu-a01", step, "started") == "gpu-a01: ranker comes back on 9000; ranker stays beside it"


def test_the_way_back_is_refused_where_the_instance_has_the_ports(folder):
    assert refusal(folder, new(port=9000), state="started") == (
        "tfserving_instances: the instance ranker listens on 9000, which ranker needs; run site.yml with the beside of"
        " the inventory first"
    )


def test_a_folder_that_holds_no_adoption_is_refused(tmp_path):
    with pytest.raises(WishError, match=r"adopt_dir: .*adopt.json cannot be read"):
        takeover.read(str(tmp_path))
    (tmp_path / "adopt.json").write_text('{"schema": 1}')
    with pytest.raises(WishError, match=r"is not the report of an adoption; give the folder that adopt\.yml wrote"):
        takeover.read(str(tmp_path))


def test_a_report_of_another_release_is_refused(folder, tmp_path):
    document = takeover.read(folder)
    changed = copy.deepcopy(document)
    changed["schema"] = 99
    (tmp_path / "adopt.json").write_text(json.dumps(changed))
    with pytest.raises(WishError, match="was written by another release of the collection; adopt the hosts again"):
        takeover.read(str(tmp_path))


def test_beside_the_old_servers_instances_have_ports_that_nobody_uses(tmp_path):
    taken = before(listening=[{"address": "0.0.0.0", "port": 18501, "kind": "rest"}])
    publish.publish(str(tmp_path / "a"), {"gpu-a01": old.survey(taken)}, {"gpu-a01": box(1)}, {})
    beside = yaml.safe_load((tmp_path / "a/beside/group_vars/tfserving.yml").read_text())["tfserving_instances"]
    usual = yaml.safe_load((tmp_path / "a/inventory/group_vars/tfserving.yml").read_text())["tfserving_instances"]
    assert beside[0]["ports"] == {"grpc": 18510, "rest": 18511}
    assert usual[0]["ports"] == {"grpc": 9000}
    assert {**beside[0], "ports": 0} == {**usual[0], "ports": 0}
