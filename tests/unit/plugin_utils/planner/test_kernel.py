# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which kernel settings a host gets: computed from its hardware, each with its reason, overridable one by one."""

from __future__ import annotations

import json

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.names import proc_path
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import matcher
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.kernel import settings
from hypothesis import given
from hypothesis import strategies as st
from planner_cases import topologies
from repository import REPOSITORY

MIB = 2**20
TEMPLATES = REPOSITORY / "roles/kernel_tuning/templates"


def box(**shape):
    return machines.topology(**{"memory_mb": 262144, "nics": [{"speed_mbps": 25000}], **shape})


def sysctls(found):
    return {each["name"]: each["value"] for each in found["sysctl"]}


def one(found, name):
    return next(each for each in found["sysctl"] if each["name"] == name)


def paths(found):
    return {each["path"]: each["value"] for each in found["sysfs"]}


@given(topologies(), st.booleans())
def test_every_value_of_every_machine_has_a_reason_and_a_source_and_is_plain_data(topology, pinned):
    found = settings(topology, None, pinned, [8500])
    for each in [*found["sysctl"], *found["sysfs"]]:
        assert each["reason"]
        assert each["source"].startswith("https://")
        assert not each["override"]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("mbps", "mib"), [(1000, 8), (10000, 32), (25000, 64), (40000, 128), (100000, 256), (400000, 256)]
)
def test_buffers_hold_what_the_fastest_nic_sends_during_a_round_trip(mbps, mib):
    values = sysctls(settings(box(nics=[{"speed_mbps": 1000}, {"speed_mbps": mbps}]), {}, True))
    assert values["net.core.rmem_max"] == values["net.core.wmem_max"] == str(mib * MIB)
    assert values["net.ipv4.tcp_rmem"] == f"4096 131072 {mib * MIB}"


def test_a_nic_that_is_down_does_not_count():
    values = sysctls(settings(box(nics=[{"speed_mbps": 100000, "up": False}, {"speed_mbps": 10000}]), {}, True))
    assert values["net.core.rmem_max"] == str(32 * MIB)


def test_without_a_known_speed_the_reason_says_that_it_is_assumed():
    assert "assumed" in one(settings(box(nics=[{"speed_mbps": None}]), {}, True), "net.core.rmem_max")["reason"]


def test_no_connection_may_buffer_more_than_a_small_part_of_the_memory():
    values = sysctls(settings(box(sockets=1, memory_mb=1024, nics=[{"speed_mbps": 100000}]), {}, True))
    assert values["net.core.rmem_max"] == str(16 * MIB)


@pytest.mark.parametrize(("node_mb", "scale"), [(1024, 100), (262144, 40), (2097152, 10)])
def test_the_room_between_watermarks_is_about_a_gibibyte_whatever_the_memory(node_mb, scale):
    assert sysctls(settings(box(memory_mb=node_mb), {}, True))["vm.watermark_scale_factor"] == str(scale)


def test_large_memory_does_not_collect_minutes_of_dirty_pages():
    small, large = (sysctls(settings(box(memory_mb=size), {}, True)) for size in (2048, 1048576))
    assert (small["vm.dirty_background_ratio"], small["vm.dirty_ratio"]) == ("10", "20")
    assert (large["vm.dirty_background_ratio"], large["vm.dirty_ratio"]) == ("1", "2")


def test_numa_settings_are_left_out_on_a_host_with_one_node():
    values = sysctls(settings(box(sockets=1), {}, True))
    assert not {"vm.zone_reclaim_mode", "kernel.numa_balancing"} & set(values)


def test_numa_balancing_stays_as_it_is_where_serving_has_no_cpus_of_its_own():
    assert sysctls(settings(box(), {}, True))["kernel.numa_balancing"] == "0"
    assert "kernel.numa_balancing" not in sysctls(settings(box(), {}, False))


def test_ports_of_instances_are_kept_from_outgoing_connections_where_these_could_take_them():
    assert sysctls(settings(box(), {}, True, [8500, 50051, 50052]))["net.ipv4.ip_local_reserved_ports"] == "50051-50052"
    assert "net.ipv4.ip_local_reserved_ports" not in sysctls(settings(box(), {}, True, [8500, 8501]))


def test_an_override_wins_and_says_what_the_plan_would_have():
    found = one(settings(box(), {"sysctl": {"net.core.somaxconn": 1024}}, True), "net.core.somaxconn")
    assert (found["value"], found["override"]) == ("1024", True)
    assert found["reason"].startswith("(override) the plan would have 16384: ")


def test_null_leaves_a_key_alone():
    assert "vm.swappiness" not in sysctls(settings(box(), {"sysctl": {"vm.swappiness": None}}, True))


def test_any_key_may_be_added():
    found = settings(box(), {"sysctl": {"net.ipv4.tcp_rmem": "4096  87380\t1", "dev.raid.speed_limit_max": 5}}, True)
    assert sysctls(found)["dev.raid.speed_limit_max"] == "5"
    assert sysctls(found)["net.ipv4.tcp_rmem"] == "4096 87380 1"
    assert found["warnings"] == []


def test_a_key_that_looks_like_a_slip_is_kept_and_warned_of():
    found = settings(box(), {"sysctl": {"net.core.somaxcon": 1}}, True)
    assert found["warnings"] == ["kernel_tuning_sysctl.net.core.somaxcon: did you mean 'net.core.somaxconn'?"]
    assert "net.core.somaxcon" in sysctls(found)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"sysctl": {"somaxconn": 1}},
            "kernel_tuning_sysctl: the string 'somaxconn' is not the name of a setting;"
            " write it as in net.core.somaxconn",
        ),
        (
            {"sysctl": {"net.core.../passwd": 1}},
            "kernel_tuning_sysctl: the string 'net.core.../passwd' is not the name of a setting;"
            " write it as in net.core.somaxconn",
        ),
        ({"sysctl": {"vm.swappiness": True}}, "kernel_tuning_sysctl.vm.swappiness: is the boolean true; give 1"),
        (
            {"sysctl": {"vm.swappiness": "1\nkernel.panic = 1"}},
            "kernel_tuning_sysctl.vm.swappiness: is a string;"
            " give a number or a line of text, or null to leave it alone",
        ),
        ({"sysctl": []}, "kernel_tuning_sysctl: is a list; give a mapping of names to values"),
        ({"thp": "on"}, "kernel_tuning_thp: is the string 'on'; choose from madvise, always, never or keep"),
        ({"governor": "per formance"}, "kernel_tuning_governor: is a string; give its name, or keep"),
        (
            {"energy_preference": "balance_power"},
            "kernel_tuning_energy_preference: has no effect beside kernel_tuning_governor: performance, under which"
            " drivers take no preference; set the governor to powersave or leave this out",
        ),
        (
            {"cpu_latency_us": 0},
            "kernel_tuning_cpu_latency_us: is the number 0; give microseconds, or leave it out",
        ),
        (
            {"modules": ["a b"]},
            "kernel_tuning_modules: a string is not the name of a kernel module; write it as in tcp_bbr",
        ),
        # What the fuzzer put into sysctl.d and modules-load.d.
        (
            {"sysctl": {"vm.swappiness": "\x1b[2J"}},
            "kernel_tuning_sysctl.vm.swappiness: holds a line break or another control character;"
            " give a text on one line",
        ),
        (
            {"sysctl": {"-vm.swappiness": 1}},
            "kernel_tuning_sysctl: the string '-vm.swappiness' is not the name of a setting;"
            " write it as in net.core.somaxconn",
        ),
        (
            {"sysctl": {"vm." + "x" * 300: 1}},
            "kernel_tuning_sysctl: a string is not the name of a setting; write it as in net.core.somaxconn",
        ),
        (
            {"sysctl": {"net.ipv4.tcp_congestion_control": "../bbr x"}},
            "kernel_tuning_sysctl.net.ipv4.tcp_congestion_control: cannot name a congestion control, which is a module"
            " of the kernel too; write it as in bbr",
        ),
        (
            {"modules": ["--remove"]},
            "kernel_tuning_modules: the string '--remove' is not the name of a kernel module; write it as in tcp_bbr",
        ),
        ({"governor": "x" * 70_000}, "kernel_tuning_governor: is a string; give its name, or keep"),
        (
            {"cpu_latency_us": 2**31},
            "kernel_tuning_cpu_latency_us: is the number 2147483648; give microseconds, or leave it out",
        ),
        ({"thpp": "never"}, "kernel_tuning_thpp: is not a setting of the kernel's tuning; did you mean 'thp'?"),
    ],
)
def test_what_could_work_nowhere_is_refused(overrides, message):
    with pytest.raises(WishError) as refusal:
        settings(box(), overrides, True)
    assert str(refusal.value) == message


def test_bbr_brings_its_module_and_its_queue():
    found = settings(box(), {"sysctl": {"net.ipv4.tcp_congestion_control": "bbr"}}, True)
    assert [module["name"] for module in found["modules"]] == ["tcp_bbr"]
    assert sysctls(found)["net.core.default_qdisc"] == "fq"


def test_congestion_control_is_left_alone_and_said_to_be():
    found = settings(box(), {}, True)
    assert "net.ipv4.tcp_congestion_control" not in sysctls(found)
    assert "net.ipv4.tcp_congestion_control" in {each["name"] for each in found["left_alone"]}


def test_huge_pages_are_for_those_who_ask_and_never_make_a_fault_wait():
    found = paths(settings(box(), {}, True))
    assert found["/sys/kernel/mm/transparent_hugepage/enabled"] == "madvise"
    assert found["/sys/kernel/mm/transparent_hugepage/defrag"] == "defer"


def test_keep_leaves_huge_pages_and_governor_alone():
    assert paths(settings(box(), {"thp": "keep", "governor": "keep"}, True)) == {}


def test_a_default_that_is_spelt_out_is_no_override():
    found = settings(box(), {"thp": "madvise", "governor": "performance", "energy_preference": "keep"}, True)
    assert not any(each["override"] for each in found["sysfs"])


def test_a_limit_of_wake_up_times_names_the_cpus_that_are_online():
    found = paths(settings(box(sockets=1, cores=2, smt=1), {"cpu_latency_us": 20}, True))
    assert found["/sys/devices/system/cpu/cpu{0,1}/power/pm_qos_resume_latency_us"] == "20"


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        ({}, {"modules-load.d"}),
        ({"modules": ["tcp_bbr"]}, set()),
        ({"governor": "keep"}, {"modules-load.d", "systemd"}),
        ({"governor": "keep", "thp": "keep"}, {"modules-load.d", "systemd", "tmpfiles.d"}),
    ],
)
def test_files_without_a_setting_are_left_out(overrides, left_out):
    patterns = [matcher(pattern) for pattern in settings(box(), overrides, True)["exclude"]]
    found = {path.relative_to(TEMPLATES) for path in TEMPLATES.rglob("*.j2")}
    assert {path.parts[1] for path in found if any(matches(str(path)[:-3]) for matches in patterns)} == left_out


def test_a_container_is_not_required_to_take_anything():
    assert settings(box(), {}, True)["live"]["required"]
    assert not settings({**box(), "virtualization": "docker"}, {}, True)["live"]["required"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_the_first_separator_tells_which_one_separates(name, path):
    assert proc_path(name) == path
