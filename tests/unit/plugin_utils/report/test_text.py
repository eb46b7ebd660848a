# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What plan.yml says of a fleet: who is alike, who owns what, and what a run would change."""

from __future__ import annotations

import copy
import string

import pytest
from ansible.plugins.inventory import expand_hostname_range
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import groups, markdown, page, text, waiting
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.host_names import folded
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report.machine_map import machine_map
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plan_report_cases import (
    INSTANCES,
    MODELS,
    eight_sockets,
    gpu_box,
    gpu_host,
    hybrid_laptop,
    in_force,
    planned,
    small_vm,
)
from planner_cases import IMAGE, instance, model, plan, topologies, wishes


def only(hosts, **keys):
    (group,) = groups.read(hosts, **keys).groups
    return group


def effects(host):
    """Return for each instance of a host what the report says would happen to it."""
    return {verdict.name: verdict.effect for verdict in only({"a": host}).parts[0].difference.instances}


def changes(host, name):
    (part,) = only({"a": host}).parts
    return next(verdict.changes for verdict in part.difference.instances if verdict.name == name)


# Hosts ---------------------------------------------------------------------------------------------------------------


def test_hosts_that_only_their_uuids_tell_apart_are_shown_once():
    hosts = {f"gpu-{rack}{number:02d}": gpu_host(number) for rack in "ab" for number in range(1, 5)}
    group = only(hosts)
    assert (group.hosts, group.count) == ("gpu-a[01:04], gpu-b[01:04]", 8)
    assert "gpu-a[01:04], gpu-b[01:04] (8 hosts)" in text.text(groups.read(hosts))


def test_every_host_is_in_one_group_the_largest_first():
    hosts = {"a1": gpu_host(1), "odd": planned(small_vm()), "a2": gpu_host(2)}
    assert [(group.hosts, group.count) for group in groups.read(hosts).groups] == [("a[1:2]", 2), ("odd", 1)]


def test_another_cpu_that_is_offline_makes_another_group():
    fewer = copy.deepcopy(gpu_box())
    fewer["cpus"][-1]["online"] = False
    hosts = {"a": gpu_host(), "b": planned(fewer, INSTANCES, MODELS)}
    assert len(groups.read(hosts).groups) == 2


def test_alike_hosts_stay_together_when_their_plans_in_force_differ():
    new = gpu_host()
    old = gpu_host(models=[model("ranker", version=6, memory_mb=6_000), *MODELS[1:]])
    group = only({"a1": in_force(new, new), "a2": in_force(new, old), "a3": in_force(new, new)})
    assert [(part.hosts, part.difference.empty) for part in group.parts] == [("a1, a3", True), ("a2", False)]


def test_what_waits_for_a_rollout_is_told_with_the_difference_and_changes_nothing():
    rolled = [model("ranker", version=8, memory_mb=6_000, rollout={}), *MODELS[1:]]
    new = gpu_host(models=rolled, in_force={"ranker": {"versions": [7]}})
    same, moved = in_force(new, new), in_force(new, gpu_host())
    assert only({"a": same}).parts[0].difference.empty
    assert only({"a": moved}).parts[0].difference.empty
    assert "none: this plan is in force\n  ranker 7 -> 8 waits for rollout.yml\n" in text.text(groups.read({"a": same}))
    first = text.text(groups.read({"a": new}))
    assert first.endswith("spelling    added\n  ranker 7 -> 8 waits for rollout.yml\n")
    assert "waits" not in text.text(groups.read({"a": gpu_host()}))
    written = markdown.markdown(groups.read({"a1": same, "a2": same}))
    title, waits, *others = written.split("\n\n")
    assert title == "## Plan: 0 of 2 hosts would change"
    assert waits == "- `a[1:2]`: `ranker 7 -> 8 waits for rollout.yml`"
    assert others == ["Unchanged: `a[1:2]`\n"]
    assert '<p class="calm">ranker 7 -&gt; 8 waits for rollout.yml</p>' in page.page(groups.read({"a": same}))


def test_labels_that_wait_are_told_where_the_versions_stay():
    both = {"versions": [7, 8], "labels": {"stable": 7}}
    wish = model("ranker", version=8, serve={**both, "labels": {"stable": 8, "next": 8}}, rollout={})
    waits = {"ranker": {"versions": [7, 8], "labels": {"stable": 7}}}
    host = planned(gpu_box(), [instance("ranker", ["ranker"])], [wish], in_force=waits)
    assert only({"a": host}).parts[0].difference.waits == ("ranker stable 7 -> next 8, stable 8 waits for rollout.yml",)


def test_the_end_of_a_run_names_the_hosts_and_the_command_for_each_move():
    def held(*wished, **keys):
        models = [model(name, version=version, rollout={}) for name, version in wished]
        return planned(small_vm(), [], models, in_force={"ranker": {"versions": [7]}, "digits": {"versions": [1]}})[
            "plan"
        ]

    plans = {"h1": held(("ranker", 8)), "h2": held(("ranker", 8), ("digits", 2)), "h3": held(("digits", 1)), "h4": {}}
    assert waiting.summary(plans, lambda model: f"roll {model}") == (
        "ranker 7 -> 8 waits for rollout.yml (h[1:2]):\n  roll ranker\n"
        "digits 1 -> 2 waits for rollout.yml (h2):\n  roll digits"
    )
    assert waiting.summary({"h3": plans["h3"]}, str) == ""


def test_hosts_that_could_not_be_planned_are_named():
    assert "messages above:\n  b[1:2]" in text.text(groups.read({"a": gpu_host()}, missing=["b2", "b1"]))


@given(st.lists(st.from_regex(r"[a-c]{0,2}[0-9]{0,3}(\.d[0-9]?)?", fullmatch=True).filter(bool), unique=True))
def test_folded_names_are_the_same_hosts_in_the_ranges_of_inventories(names):
    found = [name for part in folded(names).split(", ") if part for name in _expanded(part)]
    assert sorted(found) == sorted(names)


def _expanded(part):
    return expand_hostname_range(part) if "[" in part else [part]


@pytest.mark.parametrize(
    ("names", "text_"),
    [
        (["web1"], "web1"),
        (["n8", "n10", "n9"], "n[8:10]"),
        (["n08", "n09", "n10"], "n[08:10]"),
        (["a1.rack2.example.com", "a2.rack2.example.com"], "a[1:2].rack2.example.com"),
        (["10.0.0.4", "10.0.0.5", "10.0.1.5"], "10.0.0.[4:5], 10.0.1.5"),
    ],
)
def test_names_are_folded_at_the_number_that_counts_hosts(names, text_):
    assert folded(names) == text_


# The map -------------------------------------------------------------------------------------------------------------


def owners_of(machine):
    """Return the owners of each CPU wherever the map shows it."""
    found = {}
    for board in machine.boards:
        for node in board.nodes:
            for core in (core for block in node.blocks for core in block):
                for cpu, owner in zip(core.cpus, core.owners):
                    found.setdefault(cpu, []).append(owner)
    return found


@settings(max_examples=40)
@given(topologies(), wishes())
def test_every_cpu_of_any_machine_is_on_the_map_once_with_its_owner(topology, wished):
    try:
        found = plan(topology, *wished, **IMAGE)
    except WishError:
        assume(False)
    machine = machine_map(topology, found)
    owners = owners_of(machine)
    assert sorted(owners) == sorted(cpu["id"] for cpu in topology["cpus"])
    assert all(len(each) == 1 for each in owners.values())
    for number, each in enumerate(found["instances"]):
        assert [cpu for cpu in sorted(owners) if owners[cpu] == [f"instance-{number}"]] == cpu_list.parse(each["cpus"])
    assert [cpu for cpu in sorted(owners) if owners[cpu] == ["offline"]] == sorted(
        cpu["id"] for cpu in topology["cpus"] if not cpu["online"]
    )
    assert sum(owner.cpus for owner in machine.owners) == len(topology["cpus"])
    drawn = [device.label for board in machine.boards for node in board.nodes for device in (*node.gpus, *node.nics)]
    assert len(drawn) == len(topology["gpus"]) + len(topology["nics"])


def signs(report):
    """Return the map of a text as one line of signs for each line of CPUs, by the label in front of it."""
    lines = report[: report.index("\nPlace\n")].splitlines()
    cut = [line.split(None, 1) for line in lines if line[:16].strip() and line[16:18] == "  "]
    return {label: rest.replace(" ", "") for label, rest in cut if label not in ("GPUs", "NICs")}


def test_the_terminal_shows_a_sign_for_every_thread_below_that_of_its_core():
    drawn = signs(text.text(groups.read({"a": gpu_host()})))
    assert list(drawn) == ["0-31", "64-95", "32-63", "96-127"]
    assert drawn["0-31"] == drawn["64-95"]
    assert {label: len(line) for label, line in drawn.items()} == dict.fromkeys(drawn, 32)


def test_the_terminal_counts_add_up_to_the_plan():
    host = gpu_host()
    drawn = "".join(signs(text.text(groups.read({"a": host}))).values())
    for glyph, each in zip(string.ascii_uppercase, host["plan"]["instances"]):
        assert drawn.count(glyph) == len(cpu_list.parse(each["cpus"]))
    assert drawn.count("·") == len(cpu_list.parse(host["plan"]["housekeeping"]["cpus"]))


@pytest.mark.parametrize("topology", [gpu_box(), eight_sockets(64), hybrid_laptop(), small_vm()])
def test_no_line_of_the_map_is_wider_than_the_terminal(topology):
    report = text.text(groups.read({"a": planned(topology)}))
    assert max(map(len, report[: report.index("\nPlace\n")].splitlines())) <= text.WIDTH


def test_sockets_that_share_a_node_are_one_board():
    assert [board.title for board in only({"a": planned(small_vm())}).sheet.machine.boards] == ["Sockets 0-3"]


def test_slow_cores_stand_in_rows_of_their_own():
    (board,) = only({"a": planned(hybrid_laptop())}).sheet.machine.boards
    assert [[len(core.cpus) for core in block] for block in board.nodes[0].blocks] == [[2] * 6, [1] * 8]


def test_each_gpu_hangs_at_its_node_and_tells_whose_it_is():
    machine = only({"a": gpu_host()}).sheet.machine
    names = {owner.key: owner.name for owner in machine.owners}
    shown = {
        gpu.label: (node.title, *(names[key] for key in gpu.owners))
        for board in machine.boards
        for node in board.nodes
        for gpu in node.gpus
    }
    assert shown["GPU 0"] == ("Node 0", "embeddings")
    assert shown["GPU 4"] == ("Node 1", "ranker")
    assert shown["GPU 7"] == ("Node 1",)


def test_a_gpu_in_slices_belongs_to_all_who_have_one():
    topology = gpu_box()
    topology["gpus"][0]["mig"] = {
        "mode": "enabled",
        "instances": [{"index": n, "profile": "3g.40gb", "uuid": f"MIG-{n}"} for n in range(2)],
    }
    two = [instance("a", gpus=["MIG-0"]), instance("b", gpus=["MIG-1"])]
    sheet = only({"host": planned(topology, two)}).sheet
    assert sheet.machine.boards[0].nodes[0].gpus[0].owners == ("instance-0", "instance-1")
    assert "MIG-0" not in str(sheet)
    assert "0:1" in sheet.tables[0].rows[1].cells


# Reasons -------------------------------------------------------------------------------------------------------------


def test_every_reason_of_the_plan_is_told():
    host = gpu_host()
    told = {
        (figure.path, key): reason
        for figure in only({"a": host}).sheet.figures
        for reason in figure.reasons
        for key in reason.owners
    }
    for number, each in enumerate(host["plan"]["instances"]):
        for path, said in each["reasons"].items():
            assert told[path, f"instance-{number}"].text in said
            assert told[path, f"instance-{number}"].override == (path in each["overrides"])


def test_what_users_have_set_is_marked():
    assert "    B     128 (override): the plan would have 256" in text.text(groups.read({"a": gpu_host()}))


def test_the_terminal_can_do_without_reasons():
    report = text.text(groups.read({"a": gpu_host()}), reasons=False)
    assert "Reasons" not in report
    assert "Difference" in report


def test_no_wished_value_of_the_environment_is_shown_whatever_its_name():
    wished = [instance(environment={"AWS_SECRET_ACCESS_KEY": "hunter2", "DB_URL": "db://hunter2@x", "SAME": "hunter"})]
    before = [instance(environment={"AWS_SECRET_ACCESS_KEY": "hunter1", "SAME": "hunter"})]
    host = in_force(gpu_host(instances=wished), gpu_host(instances=before))
    assert "hunter" not in text.text(groups.read({"a": host}))
    shown = {change.path: (change.before, change.after) for change in changes(host, "ranker")}
    assert shown["environment.AWS_SECRET_ACCESS_KEY"] == ("", "changed")
    assert shown["environment.DB_URL"] == ("", "(not shown)")
    assert "environment.SAME" not in shown


# Difference ----------------------------------------------------------------------------------------------------------


def test_the_plan_in_force_differs_in_nothing_from_itself():
    host = in_force(gpu_host(), gpu_host())
    assert set(effects(host).values()) == {"none"}
    assert "none: this plan is in force" in text.text(groups.read({"a": host}))


def test_without_a_plan_in_force_everything_is_new():
    assert set(effects(gpu_host()).values()) == {"add"}


def test_other_batches_are_a_restart_and_a_new_version_is_a_hot_reload():
    before = gpu_host(
        instances=[INSTANCES[0], {**INSTANCES[1], "batching": {"max_batch_size": 64}}, *INSTANCES[2:]],
        models=[model("ranker", version=6, memory_mb=6_000), *MODELS[1:]],
    )
    host = in_force(gpu_host(), before)
    assert effects(host) == {"ranker": "reload", "embeddings": "restart", "vision": "none", "spelling": "none"}
    shown = [(change.path, change.before, change.after) for change in changes(host, "ranker")]
    assert shown == [("models.ranker.serve", "versions 6", "versions 7")]
    shown = {change.path for change in changes(host, "embeddings")}
    assert {"batching.max_batch_size", "threads.rest"} <= shown
    assert not any(path.startswith("flags.rest") for path in shown), "flags repeat the threads"


def test_labels_and_fixed_versions_are_hot_reloads():
    served = {"versions": [6, 7], "labels": {"stable": 6}}
    moved = {"versions": [6, 7], "labels": {"stable": 7}}
    before, after = (
        planned(gpu_box(), [instance()], [model(versions=[6, 7], version=None, serve=serve)])
        for serve in (served, moved)
    )
    host = in_force(after, before)
    assert effects(host) == {"ranker": "reload"}
    assert [(c.before, c.after) for c in changes(host, "ranker")] == [("stable 6", "stable 7")]


def test_limits_of_memory_alone_restart_nothing():
    sizes = [[model("ranker", version=7, memory_mb=size)] for size in (6_000, 7_000)]
    before, after = (planned(gpu_box(), [instance()], models) for models in sizes)
    assert effects(in_force(after, before)) == {"ranker": "adjust"}


def test_instances_come_and_go():
    host = in_force(gpu_host(instances=INSTANCES[:3]), gpu_host(instances=INSTANCES[1:]))
    assert effects(host)["ranker"] == "add"
    assert effects(host)["spelling"] == "remove"


def test_another_release_is_a_restart_of_all_and_named_as_such():
    before, after = gpu_host(), gpu_host()
    after["plan"] = plan(gpu_box(), INSTANCES, MODELS, **IMAGE, version="2.18.0")
    host = in_force(after, before)
    assert set(effects(host).values()) == {"restart"}
    assert ("server.version", "2.19.1", "2.18.0") in [(c.path, c.before, c.after) for c in changes(host, "vision")]


def test_where_models_come_from_is_not_passed_around():
    source = {"type": "http", "uri": "https://models/1.tar?signature=hunter2", "sha256": "0" * 64}
    before, after = (planned(gpu_box(), [instance()], [each]) for each in (model(), {**model(), "source": source}))
    report = text.text(groups.read({"a": in_force(after, before)}))
    assert "models.ranker.source  changed" in report
    assert "hunter2" not in report


def test_what_a_host_says_of_its_devices_draws_nothing_in_the_terminal():
    evil = "ens1\x1b[2J\r\nlab-z  forged\u202e\udc80"
    host = planned(gpu_box(), [instance()])
    host["plan"]["warnings"] = [evil]
    host["plan"]["instances"][0]["environment"] = {"GREETING": evil}
    host["plan"]["instances"][0]["reasons"]["cpus"] = evil
    host["plan"]["server"]["version"] = evil
    host["topology"]["nics"][0]["name"] = evil
    host["topology"]["gpus"][0]["name"] = evil
    host["previous"] = {**copy.deepcopy(host["plan"]), "warnings": []}
    host["previous"]["instances"][0]["environment"] = {evil: evil}
    shown = text.text(groups.read({"a": host}))
    assert shown.replace("\n", "").isprintable()
    assert not [line for line in shown.splitlines() if line.startswith("lab-z")]
    assert r"ens1\x1b[2J\r\nlab-z" in shown
