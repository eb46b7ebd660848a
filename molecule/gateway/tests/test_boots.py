# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Boots of one host of two under requests: by hand, and by a run that changes the host's driver."""

from __future__ import annotations

import subprocess

import pytest
from callers import GATEWAYS, ROOT, SERVING, await_that, knows_all

BOOTED = SERVING[1]
# Of each protocol through each gateway. One more host boots on the cores of the test machine.
RATE = 5.0


@pytest.fixture
def boot_id(on):
    """What tells one boot of the host from another; nothing while it is down."""
    return lambda: on(BOOTED).run("cat /proc/sys/kernel/random/boot_id").stdout


@pytest.fixture
def serves(on):
    """Whether the host and all gateways are open for requests to it."""
    gate = "curl --silent --fail http://127.0.0.1:8490/gate/main"
    return lambda: on(BOOTED).run(gate).rc == 0 and all(knows_all(on(name)) for name in GATEWAYS)


def test_no_request_is_lost_while_somebody_boots_a_host(traffic, gateways, on, boot_id, serves, shown):
    before = boot_id()
    with traffic.flowing(gateways, rate=RATE):
        on(BOOTED).run("systemctl reboot")
        await_that(lambda: boot_id() not in ("", before) and serves(), f"{BOOTED} has booted and serves again")
    shown(f"a host booted: {traffic.lost} lost, {traffic.answered} answered")
    assert traffic.lost == {}


@pytest.mark.long
def test_no_request_is_lost_while_a_host_gets_a_driver_and_boots(site, traffic, gateways, on, boot_id, serves, shown):
    """GPUs, modules and the kernel are simulated (lab/simulated_gpu); the packages are Debian's own."""
    subprocess.run(["docker", "cp", f"{ROOT}/lab/simulated_gpu/.", f"{BOOTED}:/opt/simulated-gpu"], check=True)
    host, before = on(BOOTED), boot_id()
    # nouveau has the GPUs and does not let go of them, so that only a boot brings the new driver.
    host.check_output("cd /opt/simulated-gpu && python3 place.py bare && python3 machine.py in_use=true")
    with traffic.flowing(gateways, rate=RATE):
        done = site(nvidia_driver_reboot_ok=True, nvidia_driver_require_live="true")
        assert done.status == 0, done.output
        await_that(serves, f"{BOOTED} serves again")
    shown(f"a host got a driver and booted: {traffic.lost} lost, {traffic.answered} answered")
    assert boot_id() != before
    assert host.file("/sys/module/nvidia/version").content_string.startswith("535.")
    assert traffic.lost == {}
