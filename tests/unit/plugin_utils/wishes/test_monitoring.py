# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which hosts of the group watch the others."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import monitoring


def test_a_host_whose_monitoring_is_removed_watches_nobody():
    states = {"w1": {"monitoring_state": "absent"}, "w2": {"monitoring_state": "present"}, "w3": {}}
    assert monitoring.present(["w1", "w2", "w3"], states) == ["w2", "w3"]
