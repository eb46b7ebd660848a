# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of machines: each is found where it is, ruled out where it is not, and unknown where nothing says."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from evidence_cases import at, gateway, grow, healthy, peers, put
from resource_faults import TABLE, Evidence, clocks, gpu, kernel, sleepy, slow

FAULTS = {fault.id: fault for fault in faults()}
NAMED = [pytest.param(each, id=f"{each.id}-{each.verdict}") for each in TABLE]


def verdicts(id_: str, evidence: Evidence, others: int = 0) -> list[str]:
    """Return the verdicts of a fault on a host."""
    return [each.verdict for each in FAULTS[id_].judge(Case(evidence, peers(others)))]


@pytest.mark.parametrize("injected", NAMED)
def test_the_fault_gets_its_verdict(injected):
    judged = FAULTS[injected.id].judge(Case(injected.evidence(), peers(injected.peers)))
    found = [each for each in judged if each.verdict not in ("cleared", "unknown")]
    assert [each.verdict for each in found] == [injected.verdict]
    assert found[0].proofs, "a finding without evidence"
    assert found[0].share or found[0].impact, "a finding that explains nothing"


@pytest.mark.parametrize("injected", NAMED)
def test_a_healthy_host_is_cleared_of_it(injected):
    assert set(verdicts(injected.id, injected.host(), injected.peers)) <= {"cleared"}


@pytest.mark.parametrize("injected", [pytest.param(each, id=each.id) for each in TABLE if each.blind])
def test_what_was_not_read_is_no_pass(injected):
    found = injected.evidence()
    for path in injected.blind:
        found = put(found, path, None)
    assert "unknown" in verdicts(injected.id, found, injected.peers)


def test_every_fault_of_the_resources_is_injected():
    assert {each.id for each in TABLE} == {fault.id for fault in faults() if fault.layer == "resources"}


def test_a_host_that_is_no_guest_has_no_steal_time_to_judge():
    assert FAULTS["cpu.steal"].judge(Case(healthy())) == []


def test_a_host_without_gpus_is_not_asked_about_them():
    case = Case(healthy(with_gpus=False))
    assert [each for id_, fault in FAULTS.items() if id_.startswith("gpu.") for each in fault.judge(case)] == []


def test_an_xid_before_the_driver_was_loaded_again_is_over():
    lines = ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=x", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module")
    assert verdicts("gpu.xid", kernel(*lines)) == ["cleared"]


def test_full_power_at_nearly_full_clock_is_no_cause():
    assert set(verdicts("gpu.power_cap", gpu(reasons=0x4, sm_mhz=1900, power_w=699.0))) == {"cleared"}


def test_a_link_that_is_slow_while_its_gpu_is_idle_is_as_designed():
    assert set(verdicts("gpu.pcie", gpu(pcie_gen=1, utilisation=0.0))) == {"cleared"}


def test_a_thread_for_each_cpu_in_both_pools_is_not_too_many():
    words = at(healthy(), "instances/ranker/cmdline")
    kept = [word for word in words if "parallelism" not in word]
    one_each = [*kept, "--tensorflow_intra_op_parallelism=3", "--tensorflow_inter_op_parallelism=3"]
    assert set(verdicts("cpu.oversubscribed", slow(put(healthy(), "instances/ranker/cmdline", one_each)))) == {
        "cleared"
    }


def test_an_agent_that_takes_little_is_not_why_threads_wait_for_each_other():
    agent = {"pid": 9000, "name": "agent", "cpus_allowed": "1-3", "cpu_us": 800_000, "unit": "agent.service"}
    assert set(verdicts("cpu.neighbour", slow(put(healthy(), "processes", [agent])))) == {"cleared"}


def test_heat_of_some_time_ago_is_not_read_from_the_clock_of_cpus_at_rest():
    found = clocks("performance", 1100.0, thermal_throttle=dict.fromkeys(map(str, range(8)), 900))
    for cpu in map(str, range(8)):
        found = grow(found, f"stat/{cpu}/idle_us", 200e6)
    assert verdicts("cpu.thermal", found) == ["unknown"]


@pytest.mark.parametrize(("objective_ms", "verdict"), [(0.1, "cause"), (60_000, "contributor")])
def test_cpus_that_sleep_are_a_cause_only_where_the_objective_is_missed(objective_ms, verdict):
    found = sleepy()
    for cpu in "567":
        found["facts"]["cpuidle"][cpu][2]["latency_us"] = 5000
    (spelling,) = [each for each in found["plan"]["instances"] if each["name"] == "spelling"]
    spelling["objective_p99_ms"] = objective_ms
    assert verdict in verdicts("cpu.idle_states", found)


def test_waiting_without_anybody_else_is_no_neighbour():
    assert set(verdicts("cpu.neighbour", slow(healthy()))) == {"cleared"}


@pytest.mark.parametrize(
    ("look", "change"),
    [(0, {"status": "MAINT"}), (0, {"status": "DRAIN", "weight": 0}), (0, {"weight": 5}), (1, {"lastchg": 3})],
)
def test_a_server_that_comes_back_meanwhile_is_not_compared(look, change):
    found = gateway(("a1", "b1"))
    looks = [each["backends"]["ranker"]["servers"] for each in found["gateway"]["stats"]]
    looks[look]["b1.ranker"].update(change)
    looks[1]["b1.ranker"]["stot"] = looks[0]["b1.ranker"]["stot"] + 10
    assert "cause" not in verdicts("gateway.skew", found)
    assert "unknown" in verdicts("gateway.skew", found)


def test_a_canary_with_a_small_weight_is_no_skew():
    found = gateway()
    for look in found["gateway"]["stats"]:
        look["backends"]["ranker"]["servers"]["b2.ranker"]["weight"] = 0
    assert set(verdicts("gateway.skew", found)) == {"cleared"}


def linked(*links: tuple[str, int, bool], host: str = "a1", device: str = "0x15b3:0x1017") -> Evidence:
    """Return evidence with interfaces: a name, a speed, and whether it carries calls."""
    rows = {
        name: {"speed_mbit": speed, "duplex": "full", "up": True, "carries": carries, "device": device}
        for name, speed, carries in links
    }
    return put(healthy(host=host), "facts/links", rows)


FAST = [linked(("eth0", 25_000, True), host=f"p{number}") for number in range(3)]
OTHER_CARD = "0x8086:0x1572"


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        (linked(("eth0", 25_000, True), ("mgmt", 100, False)), "cleared"),
        (linked(("ens1", 1_000, True)), "cause"),
        (linked(("eth0", 10_000, True)), "suspect"),
        (linked(("eth0", 10_000, True), device=OTHER_CARD), "cleared"),
        (linked(("eth0", 100, True), device=OTHER_CARD), "suspect"),
        (linked(("eth0", 25_000, False), ("eth1", 1_000, False)), "unknown"),
    ],
    ids=["management port", "fell back", "bought earlier", "other card", "too slow for any", "not known which"],
)
def test_the_interface_that_carries_calls_is_judged_by_cards_of_its_kind(evidence, verdict):
    assert [each.verdict for each in FAULTS["net.link"].judge(Case(evidence, FAST))] == [verdict]


def test_an_interface_that_was_faster_before_is_slow_whatever_the_others_are():
    before, now = linked(("eth0", 25_000, True)), linked(("eth0", 10_000, True))
    assert [each.verdict for each in FAULTS["net.link"].judge(Case(now, yesterday=before))] == ["cause"]


@pytest.mark.parametrize(
    ("dropped", "opened", "verdict"),
    [
        (0, 0, "cleared"),
        (1, 300, "contributor"),
        (9, 0, "contributor"),
        (40, 50_000, "contributor"),
        (80, 300, "cause"),
    ],
)
def test_dropped_connections_weigh_by_how_many_they_are(dropped, opened, verdict):
    found = grow(grow(healthy(), "net/TcpExt.ListenDrops", dropped), "net/Tcp.PassiveOpens", opened)
    (judged,) = FAULTS["net.listen_overflow"].judge(Case(found))
    assert (judged.verdict, judged.impact >= 0.5) == (verdict, verdict == "cause")


@pytest.mark.parametrize(("mhz", "verdict"), [(2_300.0, "cleared"), (1_100.0, "cause")])
def test_a_loaded_processor_is_slow_below_the_clock_that_its_maker_promises(mhz, verdict):
    heat = {"thermal_throttle": dict.fromkeys(map(str, range(8)), 900)}
    for fault, found in (
        ("cpu.governor", clocks("powersave", mhz)),
        ("cpu.thermal", clocks("performance", mhz, **heat)),
    ):
        cpus = map(str, range(8))
        found["facts"]["cpufreq"].update(
            max_mhz=dict.fromkeys(cpus, 3500.0), base_mhz=dict.fromkeys(map(str, range(8)), 2200.0)
        )
        assert verdicts(fault, found) == [verdict]


def test_a_governor_of_cpus_at_rest_is_not_judged():
    found = clocks("powersave", 900.0)
    for cpu in map(str, range(8)):
        found = grow(found, f"stat/{cpu}/idle_us", 200e6)
    assert verdicts("cpu.governor", found) == ["unknown"]
