# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What systemd says of the units while they serve."""

from __future__ import annotations

import re

import pytest


@pytest.mark.parametrize("name", ["first", "second"])
def test_an_instance_with_a_gpu_is_shut_as_tightly_as_one_without_is_to_be(live, name):
    verdict = live.seen["exposure"][f"tfserving@{name}.service"]
    assert float(re.search(r"exposure level for .*: ([\d.]+)", verdict)[1]) <= 2.0


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_health_of_an_instance_is_watched_from_the_housekeeping_cpus(live, name):
    (watcher,) = live.processes(f"/system.slice/tfserving-health@{name}.service")
    assert len(watcher["threads"]) == 1


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_kernel_keeps_everybody_away_from_an_instance_but_the_host_itself(live, name):
    assert live.seen["doors"][name] == {"127.0.0.1": True, "10.0.2.15": False}


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_kernel_keeps_an_instance_from_calling_anybody_but_the_host_itself(live, name):
    assert live.seen["ways_out"][f"tfserving@{name}.service"] == {"own": "ok", "other": "EPERM"}
    # The rules are the instances' own, and no other firewall's.
    assert live.seen["ways_out"]["outside"]["other"] == "ok"


def test_instances_run_as_accounts_of_their_own(live):
    users = [live.seen["accounts"][f"tfserving@{name}.service"] for name in ("first", "second")]
    assert len(set(users)) == 2
    assert all(61184 <= user <= 65519 for user in users)
