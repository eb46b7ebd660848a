# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host that the driver has left."""

from __future__ import annotations

import pytest


def test_no_package_of_the_driver_is_left_not_even_its_configuration(host):
    left = host.run("dpkg-query --show --showformat '${Package} ${db:Status-Status}\\n' '*nvidia*' '*libcuda1*'").stdout
    assert [line for line in left.splitlines() if not line.endswith(" not-installed")] == []


def test_no_hold_is_left(host):
    assert host.check_output("apt-mark showhold") == ""


@pytest.mark.parametrize("folder", ["/etc", "/var/lib/tfserving-fleet", "/usr/lib/modules"])
def test_no_file_is_left(host, folder):
    found = host.check_output("find %s -iname '*nvidia*'", folder).splitlines()
    # The records of the trees, from which the last change could be taken back, and the simulation's own drop-in.
    assert [path for path in found if "/trees" not in path and not path.endswith("persistenced.service.d")] == []


def test_no_unit_is_left(host):
    assert host.run("systemctl list-unit-files 'nvidia*' 'tfserving-fleet-gpu*' --no-legend").stdout == ""


def test_the_driver_is_unloaded(host):
    assert not host.file("/sys/module/nvidia").exists
