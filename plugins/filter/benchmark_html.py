# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out a benchmark as a page."""

from __future__ import annotations

DOCUMENTATION = r"""
name: benchmark_html
short_description: Lay out a benchmark as a page
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Draws latency over the offered load, its distribution, the run over time, shards and trials, with the figures as
    tables.
  - The page is complete in itself. It loads nothing, holds no script, and follows the reader's light or dark setting.

positional: before
options:
  _input:
    description: The document of a benchmark or of tuning, as it stands in its JSON file.
    type: dict
    required: true
  before:
    description: The document of an earlier benchmark, drawn beside this one.
    type: dict
seealso:
  - plugin: tfserving.fleet.benchmark_text
    plugin_type: filter
  - plugin: tfserving.fleet.benchmark_markdown
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep the benchmark as a page
  tfserving.fleet.report:
    text: The benchmark
    content: "{{ document | tfserving.fleet.benchmark_html }}"
    dest: benchmark-ranker.html
"""

RETURN = r"""
_value:
  description: The page as HTML.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import page


def benchmark_html(document: Any, before: Any = None) -> str:
    """Return a benchmark as HTML; see benchmark.document for its shape. Raises AnsibleFilterError with the refusal."""
    try:
        return page.page(document, before)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"benchmark_html": benchmark_html}
