# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the role gateway adds to the unit of HAProxy, so that the journal has every line."""

from __future__ import annotations

import os
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import haproxies
import pytest
import yaml
from repository import REPOSITORY

ROLE = REPOSITORY / "roles/gateway"
DROP_IN = "etc/systemd/system/haproxy.service.d/10-tfserving.conf"
TEXT = (ROLE / f"templates/host/{DROP_IN}.j2").read_text(encoding="utf-8").replace("{{ ansible_managed }}", "x")


def setting(name):
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(TEXT)
    return parser["Service"][name]


def test_journald_is_told_a_limit_that_no_gateway_reaches():
    # systemd hands on neither number where one is 0, and journald multiplies by 47 at most before it divides by 4.
    assert setting("LogRateLimitIntervalSec") == "1s"
    assert 100_000 < int(setting("LogRateLimitBurst")) < 2**32 / 47


def test_the_socket_is_where_haproxy_looks_for_it():
    config = (ROLE / "templates/host/etc/haproxy/haproxy.cfg.j2").read_text(encoding="utf-8")
    assert "    chroot /var/lib/haproxy\n" in config
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    assert setting("BindReadOnlyPaths") == f"-{defaults['gateway_log']}:/var/lib/haproxy{defaults['gateway_log']}"


def test_it_is_written_and_restored_with_the_configuration():
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    assert "etc/systemd/system/haproxy.service.d/**" in variables["__gateway_config_files"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")
@pytest.mark.parametrize("package", haproxies.PACKAGES)
def test_systemd_has_nothing_to_object_to_in_any_packages_unit(tmp_path, package):
    unpacked = Path(haproxies.program(package)).parent
    unit = next(path for path in unpacked.rglob("haproxy.service") if path.is_file())
    shutil.copy(unit, tmp_path)
    (tmp_path / "haproxy.service.d").mkdir()
    (tmp_path / "haproxy.service.d/10-tfserving.conf").write_text(TEXT, encoding="utf-8")
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    objections = [line for line in judged.stderr.splitlines() if "10-tfserving.conf" in line]
    assert not objections, judged.stderr
    # A reload runs commands, by which systemd tells journald the limits.
    assert "\nExecReload=" in unit.read_text(encoding="utf-8")
