# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/gpus.md says of each branch what the simulated nvidia-smi, whose tables come from recordings, knows."""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import query as nvidia_query
from recorded_gpus import simulated
from repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "gpus.md").read_text(encoding="utf-8")


def test_the_page_has_the_first_branch_of_each_question():
    told = {what: int(branch) for what, branch in re.findall(r"^\| `([^`]+)` \| (\d{3}) \|", PAGE, re.MULTILINE)}
    branches = simulated().BRANCHES
    fields = {field: first for field, first in branches["fields"].items() if field != "mig.mode.pending"}
    assert told == {**fields, **branches["options"]}


def test_older_names_are_those_of_the_recordings():
    assert simulated().BRANCHES["renamed"] == nvidia_query.OLDER_NAMES
