# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A trace of a serving host: it is fetched, and the host is afterwards as it was, with its profiler closed."""

from __future__ import annotations

import pytest

FILES = "find /etc /run/systemd/system -xdev -type f -exec sha256sum {} + | sort"
CLOSED = "--enable_profiler=false"


@pytest.mark.long
def test_a_trace_is_fetched_and_the_profiler_is_closed_again(site, host, main, tmp_path):
    files, command, pid = host.check_output(FILES), main.command_line(), main.pid
    assert CLOSED in command
    run = site(playbook="playbooks/profile.yml", instance="main", seconds=2, rate=10, output=str(tmp_path / "trace"))
    assert run.status == 0, run.output
    page, trace = sorted(path for path in (tmp_path / "trace").rglob("*") if path.is_file())
    # The name of the operation that runs a model, as TensorFlow's own tracer writes it.
    assert b"SessionRun" in trace.read_bytes()
    assert f"Its memory: {page}" in run.message
    assert "resident (RSS)" in page.read_text()
    assert main.pid != pid
    assert main.command_line() == command
    assert host.check_output(FILES) == files
    assert host.run("find /var/cache -name '*.xplane.pb'").stdout == ""
