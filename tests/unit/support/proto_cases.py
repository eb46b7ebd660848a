# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of text protos share: complete models, and the sentence of a refusal."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_check import check


def model(**fields):
    """Return a model that is complete but for what the test says."""
    return {"name": "ranker", "base_path": "/models/ranker", "model_platform": "tensorflow", **fields}


def config(*models):
    """Return a model server config of the given models."""
    return {"model_config_list": {"config": list(models)}}


def refusal(data, message, path="") -> str:
    """Return the sentence with which the data is refused, whether it is to be written or not."""
    with pytest.raises(WishError) as caught:
        check(data, message, path)
    with pytest.raises(WishError) as unwritten:
        render(data, message, path)
    assert str(unwritten.value) == str(caught.value)
    return str(caught.value)
