# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of findings: as the table makes it, with an entry for each kind."""

from __future__ import annotations

import subprocess
import sys

from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import reference
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.finding import rows
from repository import REPOSITORY


def test_the_page_is_what_the_table_makes_of_it():
    command = [sys.executable, str(REPOSITORY / "tools" / "adoption_docs.py"), "--check"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_kind_has_its_entry():
    for name, row in rows().items():
        assert f"### `{name}`: {row['title']}\n" in reference.page()
