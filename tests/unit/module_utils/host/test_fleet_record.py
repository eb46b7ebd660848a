# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the serving hosts."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import state as gateway
from ansible_collections.tfserving.fleet.plugins.module_utils.host.fleet_record import remember

HOST = {"address": "10.0.0.1", "gate_port": 8490, "longest_call_s": 30, "instances": [], "models": []}


def test_what_was_remembered_is_known_and_only_a_change_is_one(tmp_path):
    path = tmp_path / "gateway/fleet.json"
    assert remember(str(path), gateway.SERVING_HOST, None) == ({}, False)
    assert remember(str(path), gateway.SERVING_HOST, {"gpu-1": HOST}) == ({"gpu-1": HOST}, True)
    assert remember(str(path), gateway.SERVING_HOST, {"gpu-1": HOST}) == ({"gpu-1": HOST}, False)
    assert remember(str(path), gateway.SERVING_HOST, None) == ({"gpu-1": HOST}, False)
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_mode_says_what_would_be_remembered(tmp_path):
    path = tmp_path / "fleet.json"
    assert remember(str(path), gateway.SERVING_HOST, {"gpu-1": HOST}, check_mode=True) == ({"gpu-1": HOST}, True)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1, "hosts": {"gpu-1": {"address": 5}}}'])
def test_a_damaged_record_is_refused(tmp_path, text):
    path = tmp_path / "fleet.json"
    path.write_text(text)
    with pytest.raises(WishError) as caught:
        remember(str(path), gateway.SERVING_HOST, None)
    assert str(caught.value) == f"{path}: is damaged; move it away and run again"
