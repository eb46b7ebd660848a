# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of faults: as the catalogue makes it, with an entry for each."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import reference
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from repository import REPOSITORY


def test_the_page_is_what_the_catalogue_makes_of_it():
    command = [sys.executable, str(REPOSITORY / "tools" / "fault_docs.py"), "--check"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_fault_has_its_entry_with_the_command_of_its_remedy():
    for fault in faults():
        assert f"### `{fault.id}`: {fault.title}\n" in reference.page()
    assert "See [tensorflow/serving#1237](https://github.com/tensorflow/serving/issues/1237)" in reference.page()
