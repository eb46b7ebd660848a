# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The programs that roles lay down: all files that they import and no others, as the collection has them."""

from __future__ import annotations

import sys

import pytest
from shipped_program import COLLECTOR, GATE, SOURCES

pytestmark = pytest.mark.parametrize("shipped", [COLLECTOR, GATE], ids=lambda shipped: shipped.name)


def test_each_file_that_the_program_imports_is_laid_down_and_no_other(shipped):
    assert shipped.templates() == shipped.closure()


def test_the_program_needs_nothing_but_pythons_standard_library(shipped):
    for name, imports in shipped.foreign_imports():
        assert imports <= sys.stdlib_module_names, name


def test_the_files_are_those_of_the_collection_unchanged(shipped, tmp_path):
    program = shipped.lay_down(tmp_path)
    for name in shipped.closure():
        assert (program.parent / "lib/fleet" / name).read_text() == (SOURCES / name).read_text(), name
