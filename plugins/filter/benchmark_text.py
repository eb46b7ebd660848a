# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out a benchmark for the terminal."""

from __future__ import annotations

DOCUMENTATION = r"""
name: benchmark_text
short_description: Lay out a benchmark for the terminal
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Says in one sentence what was found, then shows a line for each stage or trial, what is withheld and why, and the
    remarks; about 25 lines. The page has the rest.

positional: files
options:
  _input:
    description: The document of a benchmark or of tuning, as it stands in its JSON file.
    type: dict
    required: true
  files:
    description: Lines for the end of the text, which say where the files are.
    type: list
    elements: str
    default: []
seealso:
  - plugin: tfserving.fleet.benchmark_html
    plugin_type: filter
  - plugin: tfserving.fleet.benchmark_markdown
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Print the benchmark
  tfserving.fleet.report:
    text: "{{ lookup('ansible.builtin.file', 'benchmark-ranker.json') | from_json | tfserving.fleet.benchmark_text }}"
"""

RETURN = r"""
_value:
  description: The text, lines of about a hundred columns.
  type: str
"""

from collections.abc import Callable, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import table


def benchmark_text(document: Any, files: Sequence[str] = ()) -> str:
    """Return a benchmark as text; see benchmark.document for its shape. Raises AnsibleFilterError with the refusal."""
    try:
        return table.text(document, files)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"benchmark_text": benchmark_text}
