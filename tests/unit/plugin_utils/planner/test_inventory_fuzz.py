# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A few hundred of the fuzzer's inventories, the same ones in every run; `make fuzz` runs many, each time others."""

from __future__ import annotations

import re
from collections import Counter

import inventory_files
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from inventory_fuzz import MACHINES, RICH_INSTANCE, base, inventories, outcome

seen: Counter[str] = Counter()


@settings(
    max_examples=400,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(inventories(), st.sampled_from(MACHINES))
def check_each(variables, topology):
    seen[outcome(variables, topology, page_too=seen["planned"] % 25 == 0)[0]] += 1


def test_every_inventory_is_planned_and_read_back_or_refused_in_a_sentence():
    check_each()
    # Both have to be there for the test to mean anything.
    assert min(seen["planned"], seen["refused"]) >= 40, seen


@pytest.mark.parametrize("topology", MACHINES)
def test_the_inventory_that_all_others_come_from_is_planned(topology):
    assert outcome(base(), topology, page_too=True)[0] == "planned"


@pytest.mark.parametrize(("rules", "affinity"), [("systemd", False), ("nftables", True)])
def test_every_template_of_every_role_is_rendered_and_read_back(rules, affinity):
    host = {**MACHINES[0], "cgroup_mode": "hybrid"} if affinity else MACHINES[0]
    laid_down = outcome({**base(), "tfserving_address_rules": rules}, host)[1]
    templates = {name for name in inventory_files.templates() if not name.startswith(inventory_files.PROGRAMS)}
    missing = {name for name in templates if not any(re.fullmatch(_expanded(name), each) for each in laid_down)}
    other = (
        {"etc/systemd/system/{slice}.d/90-tfserving-fleet.conf"}
        if affinity
        else {
            "etc/systemd/system.conf.d/90-tfserving-fleet.conf",
            "etc/tfserving/addresses.nft",
        }
    )
    assert missing == other


def _expanded(name):
    """Return a pattern for the files that a template's name stands for."""
    return re.escape(name).replace(r"\{instance\}", "[a-z]+").replace(r"\{slice\}", r"[a-z]+\.slice")


BROKEN = [
    ("etc/tfserving/addresses.nft", "ip saddr 10.20.0.0/24", "ip saddr 0.0.0.0/0"),
    ("etc/tfserving/addresses.nft", "goto servers", "accept"),
    ("etc/sysctl.d/90-tfserving-fleet.conf", "vm.max_map_count = ", "vm.max_map_count = 1\nvm.panic_on_oom = "),
    ("etc/modules-load.d/90-tfserving-fleet.conf", "tcp_bbr", "tcp_bbr\n-r"),
    ("etc/tmpfiles.d/90-tfserving-fleet.conf", "performance", "performance\nw /etc/passwd - - - - x"),
    ("etc/default/grub.d/90-tfserving-fleet.cfg", "nohz_full=", "$(touch /pwned)="),
    ("etc/apt/sources.list.d/tfserving.sources", "Suites: ", "Trusted: yes\nSuites: "),
    ("etc/apt/preferences.d/tfserving", "Pin: version ", "Pin: version *\n\nPackage: x\nPin: version "),
    ("etc/nvidia-mig-manager/fleet.yaml", "halves", "thirds"),
    ("etc/tfserving/rich/instance.json", '"rich"', '"poor"'),
    ("etc/tfserving/rich/environment", "LEVEL=", "LEVEI="),
    ("etc/tfserving/rich/models.config", "plain", "plains"),
    ("etc/systemd/system/tfserving-addresses.service", "DynamicUser=yes", "ExecStartPre=+/bin/touch /pwned"),
    ("etc/systemd/system/tfserving@rich.service.d/10-plan.conf", "--rest_api_port=8521", "--rest_api_port=8522"),
    ("etc/systemd/system/kubepods.slice.d/90-tfserving-fleet.conf", "AllowedCPUs=", "AllowedCPUs=5,"),
    ("usr/local/lib/tfserving-fleet/keep-interrupts", "*) echo ", "*) echo 1;"),
]


@pytest.mark.parametrize(("name", "before", "after"), BROKEN)
def test_a_file_that_says_something_else_does_not_pass(monkeypatch, name, before, after):
    """A reader that never objects would be no proof."""
    rendered = inventory_files.rendered

    def other(path, **variables):
        text = rendered(path, **variables)
        return text.replace(before, after) if re.search(_ending(name), str(path)) else text

    monkeypatch.setattr(inventory_files, "rendered", other)
    with pytest.raises(inventory_files.ViolationError):
        outcome({**base(), "tfserving_address_rules": "nftables"}, MACHINES[0])


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\u2029"])
def test_lines_end_where_systemd_ends_them_and_not_where_python_does(sign):
    instances = [*base()["tfserving_instances"][:-1], {**RICH_INSTANCE, "environment": {"LEVEL": f"a{sign}b"}}]
    assert outcome({**base(), "tfserving_instances": instances}, MACHINES[0])[0] == "planned"


def _ending(name):
    """Return a pattern for the template of a file."""
    for instance in ("rich", "kubepods.slice"):
        name = name.replace(f"@{instance}.", "@{instance}.").replace(f"/{instance}/", "/{instance}/")
        name = name.replace(f"/{instance}.d/", "/{slice}.d/")
    return re.escape(f"{name}.j2") + "$"
