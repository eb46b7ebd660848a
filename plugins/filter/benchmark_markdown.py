# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Filter that lays out a benchmark as Markdown."""

from __future__ import annotations

DOCUMENTATION = r"""
name: benchmark_markdown
short_description: Lay out a benchmark as Markdown
version_added: 0.2.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Shows what P(tfserving.fleet.benchmark_text#filter) shows, for a ticket or a merge request.
  - Text that comes from inventories, hosts and servers stands in code spans, in which nothing is markup, a link or a
    mention.

options:
  _input:
    description: The document of a benchmark or of tuning, as it stands in its JSON file.
    type: dict
    required: true
seealso:
  - plugin: tfserving.fleet.benchmark_text
    plugin_type: filter
  - plugin: tfserving.fleet.benchmark_html
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Keep the benchmark for a ticket
  tfserving.fleet.report:
    content: "{{ document | tfserving.fleet.benchmark_markdown }}"
    dest: benchmark-ranker.md
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import markdown


def benchmark_markdown(document: Any) -> str:
    """Return a benchmark as Markdown; see benchmark.document. Raises AnsibleFilterError with the refusal."""
    try:
        return markdown.markdown(document)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"benchmark_markdown": benchmark_markdown}
