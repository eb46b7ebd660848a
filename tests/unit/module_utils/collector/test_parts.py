# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the parts of the collector tell of a recorded host with one instance."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import (
    allocator,
    cgroup,
    cpus,
    instances,
    memory,
    plan,
    rollout,
    served,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import PartError
from collected_host import GROUP, NOW, SLICE, CollectedHost, instance

OF = '{serving_instance="ranker"}'


@pytest.fixture
def place(tmp_path):
    place = CollectedHost(tmp_path)
    place.plan()
    place.serve()
    return place


def test_the_plan_is_told_by_a_digest_of_its_file(place):
    (info, written) = place.read(plan)
    assert re.fullmatch(r'tfserving_plan_info\{digest="[0-9a-f]{12}",server_version="2.19.1"\} 1', info)
    assert written.startswith("tfserving_plan_written_timestamp_seconds ")
    before = info
    place.plan(instance(cpus="2"))
    assert place.read(plan)[0] != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "is not the plan of a host; run the playbook site.yml again"),
        ('{"schema": 1, "instances": [{"name": 7}]}', "is not the plan of a host"),
    ],
)
def test_a_damaged_plan_is_said_in_one_sentence(place, text, words):
    place.write("etc/tfserving/plan.json", text)
    with pytest.raises(PartError, match=words):
        place.read(instances)


def test_an_instance_is_told_with_its_process(place):
    assert place.read(instances) == [
        f"tfserving_instance_running{OF} 1",
        f"tfserving_instance_restarts_total{OF} 2",
        f"tfserving_instance_start_time_seconds{OF} {int(NOW - 1000 + 5)}",
        f"tfserving_instance_matches_plan{OF} 1",
        f"tfserving_instance_swap_bytes{OF} 4096",
        f"tfserving_instance_threads{OF} 2",
        f"tfserving_instance_open_files{OF} 1",
        f"tfserving_instance_open_files_limit{OF} 1024",
    ]


def test_the_start_of_a_process_does_not_move_with_the_clocks(place):
    before = place.read(instances)
    place.now += 60
    place.write("proc/uptime", "1060.40 900.00\n")
    assert place.read(instances) == before


def test_a_process_of_another_plan_and_a_stopped_instance_are_told(place):
    place.serve(digest="ba9876543210")
    assert f"tfserving_instance_matches_plan{OF} 0" in place.read(instances)
    place.answers["systemctl"] = place.shown(pid=0, state="failed")
    assert place.read(instances) == [f"tfserving_instance_running{OF} 0", f"tfserving_instance_restarts_total{OF} 2"]


def test_systemd_that_does_not_know_an_instance_is_a_failure(place):
    place.answers["systemctl"] = (1, "")
    with pytest.raises(PartError, match="systemctl does not tell the state of the instances"):
        place.read(instances)


@pytest.mark.parametrize(
    ("mapped", "told", "matches"),
    [("libjemalloc.so.2", "jemalloc", 1), ("libtcmalloc_minimal.so.4", "tcmalloc", 0), ("libz.so", "glibc", 0)],
)
def test_the_allocator_is_the_mapped_one(place, mapped, told, matches):
    place.serve(mapped=mapped)
    assert place.read(allocator) == [
        f'tfserving_instance_allocator_info{{serving_instance="ranker",mapped="{told}",planned="jemalloc"}} 1',
        f"tfserving_instance_allocator_matches_plan{OF} {matches}",
    ]


def test_mappings_are_read_once_for_a_process(place):
    first = place.read(allocator)
    place.write("proc/7/maps", "")
    assert place.read(allocator) == first
    place.serve(ticks=900, mapped="libz.so")
    assert f"tfserving_instance_allocator_matches_plan{OF} 0" in place.read(allocator)


def test_no_allocator_is_planned_without_a_preload():
    assert allocator.planned({}) == "glibc"
    assert allocator.planned({"LD_PRELOAD": "/opt/a.so:/usr/lib/libtcmalloc.so.4"}) == "tcmalloc"


def test_cpus_are_compared_thread_by_thread(place):
    found = place.read(cpus)
    assert f"tfserving_instance_cpus{OF} 2" in found
    assert f"tfserving_instance_cpus_match_plan{OF} 1" in found
    place.thread(7, 8, cpus="0-3")
    assert f"tfserving_instance_cpus_match_plan{OF} 0" in place.read(cpus)


def test_a_planned_cpu_that_is_off_line_is_no_difference(place):
    place.plan(instance(cpus="2-4"))
    assert f"tfserving_instance_cpus_match_plan{OF} 1" in place.read(cpus)


def test_times_of_threads_never_fall_when_one_ends(place):
    assert f"tfserving_instance_run_seconds_total{OF} 2" in place.read(cpus)
    for path in (place.root / "proc/7/task/8").iterdir():
        path.unlink()
    (place.root / "proc/7/task/8").rmdir()
    assert f"tfserving_instance_run_seconds_total{OF} 2" in place.read(cpus)
    place.thread(7, 7, run=1_250_000_000, wait=600_000_000)
    found = place.read(cpus)
    assert f"tfserving_instance_run_seconds_total{OF} 2.25" in found
    assert f"tfserving_instance_wait_seconds_total{OF} 1.1" in found


def test_quotas_limits_and_pressure_come_from_the_cgroups(place):
    place.write(f"sys/fs/cgroup/{GROUP}/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_usec 2500000\n")
    place.write(f"sys/fs/cgroup/{GROUP}/memory.max", "1048576\n")
    place.write(f"sys/fs/cgroup/{GROUP}/memory.events", "low 0\nhigh 3\nmax 0\noom 1\noom_kill 1\n")
    place.write(f"sys/fs/cgroup/{SLICE}/cpu.pressure", "some avg10=0.00 total=1500000\nfull avg10=0.00 total=9\n")
    found = place.read(cgroup)
    assert f"tfserving_instance_periods_total{OF} 10" in found
    assert f"tfserving_instance_throttled_periods_total{OF} 4" in found
    assert f"tfserving_instance_throttled_seconds_total{OF} 2.5" in found
    assert f"tfserving_instance_memory_limit_bytes{OF} 1048576" in found
    assert 'tfserving_instance_memory_events_total{serving_instance="ranker",event="oom_kill"} 1' in found
    assert found[-1] == 'tfserving_slice_pressure_seconds_total{resource="cpu"} 1.5'


def test_a_host_with_cgroup_v1_tells_quotas_alone(place):
    place.write("proc/7/cgroup", f"3:cpu,cpuacct:/{GROUP}\n1:name=systemd:/{GROUP}\n")
    place.write("proc/mounts", "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n")
    place.write(f"sys/fs/cgroup/cpu/{GROUP}/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 1000000000\n")
    assert place.read(cgroup) == [
        f"tfserving_instance_periods_total{OF} 1",
        f"tfserving_instance_throttled_periods_total{OF} 1",
        f"tfserving_instance_throttled_seconds_total{OF} 1",
    ]


def test_an_unlimited_instance_has_no_limit_of_memory(place):
    place.write(f"sys/fs/cgroup/{GROUP}/memory.max", "max\n")
    assert place.read(cgroup) == []


A, B, BOTH = {("m", "7"): "AVAILABLE"}, {("m", "8"): "AVAILABLE"}, {("m", "7"): "AVAILABLE", ("m", "8"): "LOADING"}
SIZES = {"m/7": 1000, "m/8": 1000}
NEW = {"versions": [], "resident": 0, "loads": 0, "steps": 0, "growth": None, "before": None}


def run_of(looks, kept=None):
    kept = dict(kept or NEW)
    for resident, states in looks:
        kept = memory.after(kept, resident, states, SIZES)
    return kept


def test_a_load_is_measured_from_the_last_look_before_to_the_first_settled_one():
    kept = run_of([(5000, A), (5010, A), (7000, BOTH), (6500, {**A, **B}), (5900, B)])
    assert (kept["loads"], kept["growth"]) == (0, None)
    kept = run_of([(5100, B)], kept)
    assert (kept["loads"], kept["growth"], kept["steps"]) == (1, 5100 - 5010, 1)


def test_loads_that_leave_memory_behind_are_counted_in_a_row():
    kept = run_of([(5000, A), (5000, A), (5100, B), (5100, B), (5200, A), (5200, A)])
    assert (kept["loads"], kept["growth"], kept["steps"]) == (2, 100, 2)
    assert run_of([(5210, B), (5210, B)], kept)["steps"] == 0


def test_memory_that_a_larger_version_needs_is_not_left_behind():
    larger = {**SIZES, "m/8": 1400}
    kept = dict(NEW)
    for resident, states in [(5000, A), (5000, A), (5400, B), (5400, B)]:
        kept = memory.after(kept, resident, states, larger)
    assert (kept["growth"], kept["steps"]) == (400, 0)


def test_the_first_load_of_a_process_and_a_server_that_does_not_answer_are_no_load():
    kept = run_of([(100, {}), (5000, A), (5000, A), (9000, None)])
    assert (kept["loads"], kept["before"], kept["resident"]) == (0, None, 5000)


def test_memory_is_told_and_begins_anew_with_another_process(place, monkeypatch):
    monkeypatch.setattr(memory, "states", lambda host: {"ranker": states[0]})
    states = [A]
    assert place.read(memory)[0] == f"tfserving_instance_resident_bytes{OF} {2048 * 1024}"
    for states[0] in (B, B):
        found = place.read(memory)
    assert f"tfserving_instance_loads_total{OF} 1" in found
    place.serve(ticks=900)
    assert f"tfserving_instance_loads_total{OF} 0" in place.read(memory)


def test_damaged_notes_count_as_forgotten(place):
    place.read(instances)
    for text in ("{", '{"schema": 1}', '{"schema": 1, "boot": "x", "parts": {"instances": {"ranker": 7}}}'):
        place.state_path.write_text(text)
        assert place.read(instances)[0] == f"tfserving_instance_running{OF} 1"


def state_of(**more):
    steps = [1, 10, 50]
    begin = {"schema": 1, "generation": 1, "revision": 1, "model": "m", "old": 7, "new": 8, "reverted": {}}
    return {**begin, "steps": steps, "step": 0, "stage": "canary", "is_share_zero": False, **more}


@pytest.mark.parametrize(
    ("more", "share"),
    [
        ({}, 0), ({"stage": "share", "step": 1}, 0.1), ({"stage": "rest"}, 1), ({"stage": "reverting"}, 0),
        ({"stage": "share", "step": 9}, 0), ({"stage": "rest", "is_share_zero": True}, 0),
    ],
)  # fmt: skip
def test_the_share_of_a_roll_out_follows_its_stage(more, share):
    assert rollout.share(state_of(**more)) == share


def test_only_roll_outs_under_way_are_told(place):
    assert not rollout.applies(place.host())
    place.write("var/lib/tfserving-fleet/rollout/m.json", json.dumps(state_of(stage="share", step=2)))
    place.write("var/lib/tfserving-fleet/rollout/n.json", json.dumps(state_of(model="n", stage="done")))
    place.write("var/lib/tfserving-fleet/rollout/m.calls.json", "{}")
    assert rollout.applies(place.host())
    assert place.read(rollout) == [
        'tfserving_rollout_info{model="m",state="share",old="7",new="8"} 1',
        'tfserving_rollout_share_ratio{model="m"} 0.5',
    ]


def test_only_the_newest_versions_of_the_plans_models_are_kept():
    found = served._bounded({"m": {str(number): "END" for number in range(50)}, "strange": {"1": "END"}}, {"m"})
    assert list(found) == [("m", str(number)) for number in range(49, 29, -1)]
