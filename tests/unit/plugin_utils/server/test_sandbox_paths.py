# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the planner knows of the unit's sandbox is what stands in the unit."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.sandbox_paths import HIDDEN, hidden, systems
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from repository import REPOSITORY

UNIT = REPOSITORY / "roles/tfserving/templates/host/etc/systemd/system/tfserving@.service.j2"


@pytest.mark.parametrize("path", ["/home", "/home/x", "/home/../root/x", "//tmp/x", "/var/tmp/m", "/sys", "/proc/1"])
def test_what_the_unit_hides_is_known(path):
    assert hidden(path)


@pytest.mark.parametrize("path", ["/srv", "/homes/x", "/data/home/x", "/var/lib/tfserving/models", "/mnt/tmp"])
def test_everything_else_may_hold_models(path):
    assert hidden(path) == ""


SYSTEMS = ["/etc", "/etc/x", "//usr", "/usr/share/models", "/boot/x", "/lib64", "/var", "/var/lib", "/srv", "/opt/"]


@pytest.mark.parametrize("path", SYSTEMS)
@pytest.mark.parametrize(
    "root", [{"paths": {"models": None}}, {"releases": {"root": None}}], ids=["models", "releases"]
)
def test_no_directory_of_the_system_is_a_root_of_ours(path, root):
    policy = {part: dict.fromkeys(keys, path) for part, keys in root.items()}
    with pytest.raises(WishError, match="which is a directory of the system; give a directory such as /srv/tfserving"):
        plan_policy.complete(policy)


@pytest.mark.parametrize(
    "path", ["/usr/local/models", "/var/lib/models", "/srv/x", "/mnt/x", "/models", "/etcetera", "/library"]
)
def test_directories_beside_those_of_the_system_may_be(path):
    assert systems(path) == ""


@pytest.mark.parametrize("line", ["ProtectHome=yes", "PrivateTmp=yes", "ProtectKernelTunables=yes"])
def test_the_unit_has_the_lines_that_are_given_as_reasons(line):
    assert line in UNIT.read_text().splitlines()
    assert any(line.partition("=")[0] in reason for reason in HIDDEN.values()) or line.startswith("ProtectKernel")
