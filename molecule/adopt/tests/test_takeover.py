# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Each old server is stopped by what has started it, stays stopped, and comes back as it was."""

from __future__ import annotations

import pytest
from old_servers import OLD

# What the next boot, or the next start of supervisord, brings back all the same.
AGAIN = {
    "scores": ["supervisord starts it when it begins; write autostart=false in /etc/supervisor/conf.d/old.conf"],
    "tensorflow_model_server-9520": ["launch.py has started it, and may start it again"],
    "old-container": [
        "its restart policy stays always, which this Podman cannot change: podman-restart.service starts it",
    ],
}
AS_BEFORE = ("argv", "environment", "other_environment", "cwd", "user", "cpus_allowed", "limits", "models", "files")
SAMPLE = ("old-serving.service", "tensorflow_model_server-9520")


def running(host):
    """Return the ports of the servers that run, which their command lines have."""
    found = host.check_output("ps -eo args | grep -o -- '[p]ython3 .*tensorflow_model_server .*--port=9[0-9]*'")
    return {int(line.rpartition("=")[2]) for line in found.splitlines()}


def of(survey, name):
    (server,) = [server for server in survey["servers"] if server["origin"]["name"] == name]
    return server


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.long) for name in OLD]
)
def test_a_server_is_stopped_and_put_back(name, surveyed, takeover, host):
    old = of(surveyed(), name)
    everything = {port for _kind, port in OLD.values()}
    foreseen = takeover(old, "stopped", "--check")
    assert running(host) == everything

    stopped = takeover(old, "stopped")
    assert running(host) == everything - {OLD[name][1]}
    assert [stopped[key] for key in ("changed", "before", "after")] == [
        foreseen[key] for key in ("changed", "before", "after")
    ]
    assert stopped["notes"] == AGAIN.get(name, [])
    record = host.file(stopped["record"])
    assert (record.mode, record.user) == (0o600, "root")
    assert takeover(old, "stopped")["changed"] is False

    started = takeover(old, "started")
    assert started["after"]["starts_at_boot"] is stopped["before"]["starts_at_boot"]
    new = of(surveyed(), name)
    assert {key: new[key] for key in AS_BEFORE} == {key: old[key] for key in AS_BEFORE}
    assert new["origin"] == old["origin"]
    assert not host.file(stopped["record"]).exists
    assert takeover(old, "started")["changed"] is False


@pytest.mark.long
def test_a_unit_is_disabled_and_enabled_again(surveyed, takeover, host):
    old = of(surveyed(), "old-serving.service")
    takeover(old, "stopped")
    assert not host.service("old-serving.service").is_enabled
    assert host.file("/etc/systemd/system/old-serving.service").exists
    takeover(old, "started")
    assert host.service("old-serving.service").is_enabled


def test_another_process_than_the_surveyed_one_is_refused(surveyed, takeover, host):
    survey = surveyed()
    old, other = of(survey, "old-serving.service"), of(survey, "scores")
    run = takeover({**old, "pid": other["pid"]}, "stopped")
    assert f"pid: the process {other['pid']} is not, or no longer, the server that was surveyed" in run.message
    run = takeover({**old, "origin": {**old["origin"], "sha256": "0" * 64}}, "stopped")
    assert "name: old-serving.service has changed since it was surveyed; survey the host again" in run.message
    assert running(host) == {port for _kind, port in OLD.values()}
