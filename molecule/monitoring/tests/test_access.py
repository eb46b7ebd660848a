# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who reads what: exporters and servers are for the monitoring hosts alone."""

from __future__ import annotations

import callers
import pytest
from watched import EDGE, HOST, WATCHERS

# In place of curl's exit status: a connection that is refused or dropped is none.
TRY = "curl --silent --output /dev/null --max-time 3 --write-out '%%{http_code}' %s"


def status(host, url: str) -> str:
    return host.run(TRY, url).stdout


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("port", [8501, 8511, 9100])
def test_monitoring_hosts_read_the_figures_of_a_serving_host(on, watcher, port):
    address = callers.addresses([HOST])[HOST]
    path = "/metrics" if port == 9100 else "/monitoring/prometheus/metrics"
    assert status(on(watcher), f"http://{address}:{port}{path}") == "200"


@pytest.mark.parametrize(("host", "port"), [(HOST, 9100), (WATCHERS[0], 9100), (EDGE, 9100)])
def test_nobody_else_reads_the_node_exporter(on, host, port):
    other = EDGE if host != EDGE else HOST
    address = callers.addresses([host])[host]
    assert status(on(other), f"http://{address}:{port}/metrics") == "000"


def test_the_pages_are_for_those_whom_the_inventory_names(on, watchers):
    for watcher in watchers:
        assert watcher.page("/-/healthy")
        assert status(on(EDGE), f"http://{watcher.address}:9090/-/healthy") == "000"
        assert status(on(EDGE), f"http://{watcher.address}:9093/-/healthy") == "000"
