# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a builder is asked to fetch: the headers of downloads travel apart from all that a result repeats."""

from __future__ import annotations

import base64
import json
import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.bundle import collecting
from bundle_cases import model, wish

HEADERS = {"Authorization": "Bearer hunter2"}


def test_headers_are_one_text_and_no_part_of_the_downloads():
    found = collecting.arguments({"a": wish(models=[model()], headers=HEADERS)}, False)
    (download,) = found["downloads"]
    assert json.loads(base64.b64decode(found["headers"])) == {download["path"]: HEADERS}
    assert "hunter2" not in str({**found, "headers": ""})


def test_there_is_no_text_where_there_are_no_headers():
    assert collecting.arguments({"a": wish()}, False)["headers"] == ""


def test_packages_alone_are_asked_for_without_models_and_images():
    found = collecting.arguments({"a": wish(headers=HEADERS)}, True)
    assert (found["images"], found["downloads"], found["headers"]) == ([], [], "")
    assert found["packages"]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    sentence = "bundle_dir: /b cannot be written ([Errno 28] full); choose another place"
    with pytest.raises(WishError, match=f"^{re.escape(sentence)}$"), collecting.writing("/b"):
        raise OSError(28, "full")
