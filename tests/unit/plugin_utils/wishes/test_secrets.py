# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What may be secret is in no plan, and a change of it still restarts what uses it."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import plan_key
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy, read
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as plan_secrets
from planner_cases import IMAGE, KEY, box, instance, model
from repository import REPOSITORY

CANARY = "Tr0ub4dor"
NO_ARCHIVE = dict.fromkeys(("local", "brought", "address", "sha256", "binary"), "")
URI = f"https://{CANARY}@models.example.com/r/{{version}}.tar?sig={CANARY}#{CANARY}"


def fetched(uri=URI, **headers):
    source = {
        "type": "http",
        "uri": uri,
        "sha256": "ab" * 32,
        "headers": headers or {"Authorization": f"Bearer {CANARY}"},
    }
    return model(source=source)


def known_of(instances, *models):
    settings = policy.complete({})
    return plan_secrets.secrets(read.read(instances, list(models), settings), KEY, settings)


def planned(environment, key=KEY, models=None):
    return host_plan(box(0), [instance(environment=environment)], models or [model()], {}, key)


def only(environment, key=KEY):
    return planned(environment, key)["instances"][0]


def test_a_plan_holds_no_value_of_the_environment_whatever_its_name():
    plan = planned({"DB_URL": f"db://{CANARY}@x", "HARMLESS": CANARY, "LEVEL": 1})
    assert CANARY not in json.dumps(plan)
    assert list(plan["instances"][0]["environment_digests"]) == ["DB_URL", "HARMLESS", "LEVEL"]
    assert set(plan["instances"][0]["environment"]) == {"LD_PRELOAD", "MALLOC_CONF"}


def test_a_changed_value_is_due_for_a_restart_and_the_same_one_is_not():
    first = only({"TOKEN": "1"})
    assert only({"TOKEN": "1"})["digest"] == first["digest"]
    assert only({"TOKEN": "2"})["digest"] != first["digest"]


def test_a_wish_for_a_variable_of_the_plan_takes_its_value_out_of_the_plan():
    found = only({"MALLOC_CONF": f"narenas:1,prof_prefix:{CANARY}"})
    assert "MALLOC_CONF" not in found["environment"]
    assert "MALLOC_CONF" in found["environment_digests"]


def test_digests_depend_on_the_hosts_key_and_say_nothing_without_one():
    digests = [only({"TOKEN": "1"}, key)["environment_digests"]["TOKEN"] for key in (KEY, "c4" * 32, "")]
    assert len(set(digests)) == 3
    assert digests[2] == "(not shown)"
    assert only({"TOKEN": "2"}, "")["environment_digests"]["TOKEN"] == "(not shown)"


def test_equal_values_of_two_variables_or_instances_do_not_look_equal():
    plan = host_plan(
        box(0),
        [instance("a", environment={"X": "1", "Y": "1"}), instance("b", environment={"X": "1"})],
        [model()],
        {},
        KEY,
    )
    digests = [digest for each in plan["instances"] for digest in each["environment_digests"].values()]
    assert len(set(digests)) == 3


def test_an_address_is_in_the_plan_without_user_query_and_fragment():
    source = planned({}, models=[fetched()])["models"][0]["source"]
    assert source["uri"] == "https://models.example.com/r/{version}.tar"
    assert set(source) == {"type", "uri", "sha256", "uri_digest"}
    assert CANARY not in json.dumps(source)
    other = planned({}, models=[fetched(URI.replace("sig=", "sig=x"))])["models"][0]["source"]
    assert other["uri_digest"] != source["uri_digest"]


def test_a_token_without_a_password_is_left_out_of_an_address():
    source = planned({}, models=[fetched(f"https://{CANARY}@models.example.com/r.tar")])["models"][0]["source"]
    assert source["uri"] == "https://models.example.com/r.tar"


def test_what_the_plan_leaves_out_travels_beside_it():
    found = known_of([instance(environment={"A": 1})], fetched(), model("other"))
    assert found == {
        "key": KEY,
        "environment": {"ranker": {"A": "1"}},
        "sources": {"ranker": {"uri": URI, "headers": {"Authorization": f"Bearer {CANARY}"}}},
        "archive": NO_ARCHIVE,
    }


@pytest.mark.parametrize(
    ("uri", "local", "brought", "address"),
    [
        ("/srv/server.tar.gz", "/srv/server.tar.gz", "/opt/releases/.brought-archive", ""),
        ("https://builds.example.com/server.tar.gz", "", "", ""),
        (f"https://builds.example.com/s.tgz?sig={CANARY}", "", "", f"https://builds.example.com/s.tgz?sig={CANARY}"),
    ],
    ids=["on the controller", "public", "secret"],
)
@pytest.mark.parametrize("binary", ["", "bin/server"])
def test_an_archive_is_brought_or_fetched_by_its_whole_address(uri, local, brought, address, binary):
    entry = {"uri": uri, "sha256": "ab" * 32, **({"binary": binary} if binary else {})}
    releases = {"root": "/opt/releases", "archives": {"2.19.1": entry}}
    found = plan_secrets.archive(policy.complete({"install_method": "archive", "releases": releases}))
    assert found == {
        "local": local,
        "brought": brought,
        "address": address,
        "sha256": "ab" * 32,
        "binary": binary,
    }


def test_a_host_that_installs_no_archive_is_told_of_none():
    releases = {"archives": {"2.19.1": {"uri": "/srv/x", "sha256": "ab" * 32}}}
    assert plan_secrets.archive(policy.complete({"install_method": "image", "releases": releases})) == NO_ARCHIVE


def test_what_is_brought_goes_after_the_installation():
    tasks = (REPOSITORY / "roles/tfserving/tasks/install_release.yml").read_text()
    assert f'"{{{{ tfserving_release_root }}}}/{plan_secrets.BROUGHT}"' in tasks


def test_the_environment_of_an_instance_is_whole_again():
    wished = [instance(environment={"A": CANARY, "MALLOC_CONF": "narenas:1"})]
    plan = host_plan(box(0), wished, [model()], {}, KEY)["instances"][0]
    known = known_of(wished, model())
    whole = plan_secrets.environment(plan, known)
    assert (whole["A"], whole["MALLOC_CONF"], whole["LD_PRELOAD"]) == (
        CANARY,
        "narenas:1",
        plan["environment"]["LD_PRELOAD"],
    )


@pytest.mark.parametrize("now", [{"A": "other"}, {}])
def test_a_value_that_is_no_longer_known_is_never_taken_for_another(now):
    plan = only({"A": CANARY})
    known = known_of([instance(environment=now)], model())
    with pytest.raises(WishError) as refused:
        plan_secrets.environment(plan, known)
    assert str(refused.value) == (
        "instances.ranker.environment.A: had a value that only the host knows; leave the file there as it is"
    )


def test_libraries_to_preload_are_shown_to_a_server_in_a_root_of_its_own():
    policy = {**IMAGE, "jemalloc": {"enabled": False}}
    plan = host_plan(box(0), [instance(environment={"LD_PRELOAD": "/opt/a.so"})], [model()], policy, KEY)
    assert "/opt/a.so" in plan["instances"][0]["unit"]["BindReadOnlyPaths"]


def old_record():
    """A record as release 0.1.0 wrote it."""
    plan = planned({"DB_URL": "x"}, models=[fetched()])
    one = plan["instances"][0]
    one["environment"]["DB_URL"] = CANARY
    del one["environment_digests"]
    plan["models"][0]["source"] = {"type": "http", "uri": URI, "sha256": "ab" * 32}
    return plan


def test_a_record_of_release_0_1_0_is_read_without_its_values():
    found = plan_key.without_values(old_record())
    assert CANARY not in json.dumps(found)
    assert set(found["instances"][0]["environment"]) == {"LD_PRELOAD", "MALLOC_CONF"}
    assert found["instances"][0]["environment_digests"] == {"DB_URL": "(not shown)"}


@pytest.mark.parametrize("instances", [[5], [{"environment": 5}], [{"environment": {"A": CANARY}}], 5])
def test_a_record_of_any_shape_gives_nothing_away(instances):
    found = plan_key.without_values({"instances": instances, "models": [None, {"source": {"type": "http", "uri": 5}}]})
    assert CANARY not in json.dumps(found)


def test_a_new_key_is_random_and_a_kept_one_is_read(tmp_path):
    path = tmp_path / "plan.key"
    first, second = plan_key.read_key(str(path)), plan_key.read_key(str(path))
    assert (len(first), first == second, path.exists()) == (64, False, False)
    path.write_text(f"{KEY}\n")
    assert plan_key.read_key(str(path)) == KEY


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
def test_a_key_that_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(str(tmp_path / "plan.key"))
    with pytest.raises(WishError) as refused:
        plan_key.read_key(str(tmp_path / "plan.key"))
    assert str(refused.value).startswith(f"{tmp_path}/plan.key: cannot be read as the host's key (")


def test_a_damaged_key_is_refused_without_being_shown(tmp_path):
    (tmp_path / "plan.key").write_text(CANARY)
    with pytest.raises(WishError) as refused:
        plan_key.read_key(str(tmp_path / "plan.key"))
    assert str(refused.value) == (
        f"{tmp_path}/plan.key: holds no key; remove it, and the next run makes another and restarts every instance once"
    )
