# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the planner knows of the unit's sandbox is what stands in the unit."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.sandbox_paths import HIDDEN, hidden

UNIT = Path(__file__).parents[2] / "roles/tfserving/templates/host/etc/systemd/system/tfserving@.service.j2"


@pytest.mark.parametrize("path", ["/home", "/home/x", "/home/../root/x", "//tmp/x", "/var/tmp/m", "/sys", "/proc/1"])
def test_what_the_unit_hides_is_known(path):
    assert hidden(path)


@pytest.mark.parametrize("path", ["/srv", "/homes/x", "/data/home/x", "/var/lib/tfserving/models", "/mnt/tmp"])
def test_everything_else_may_hold_models(path):
    assert hidden(path) == ""


@pytest.mark.parametrize("line", ["ProtectHome=yes", "PrivateTmp=yes", "ProtectKernelTunables=yes"])
def test_the_unit_has_the_lines_that_are_given_as_reasons(line):
    assert line in UNIT.read_text().splitlines()
    assert any(line.partition("=")[0] in reason for reason in HIDDEN.values()) or line.startswith("ProtectKernel")
