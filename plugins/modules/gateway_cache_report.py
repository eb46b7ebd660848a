#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tells what a gateway's cache of answers saves, or would save."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_cache_report
short_description: Tell what a gateway's cache of answers saves, or would save
version_added: 0.2.0
description:
  - Reads HAProxy's lines in the journal, which hold hashes of requests and answers of models in shadow mode, and plays
    caches over them that keep answers for several times.
  - Reads at most 512 MiB and for a minute.
options:
  hours:
    description: How far back.
    type: int
    default: 24
  unit:
    description: The unit of HAProxy.
    type: str
    default: haproxy.service
attributes:
  check_mode:
    support: full
    description: Changes nothing anyway.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Report what a cache would save
  tfserving.fleet.gateway_cache_report:
    hours: 24
"""

RETURN = r"""
models:
  description: >-
    By model, the C(calls), those C(hashed), those C(repeated), how many of these got C(other_answers), and by time to
    live in seconds the C(hits) and the servers' time in C(saved_ms) of a cache; of the cache itself what it C(served).
  type: dict
  returned: success
sentences:
  description: The same for people.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import remembered

MOST_HOURS = 24 * 31


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "hours": {"type": "int", "default": 24},
            "unit": {"type": "str", "default": "haproxy.service"},
        },
        supports_check_mode=True,
    )
    hours = module.params["hours"]
    if not 1 <= hours <= MOST_HOURS:
        module.fail_json(msg=f"hours: is {hours}; give a number from 1 to {MOST_HOURS}")
    lines = remembered.lines(hours, module.params["unit"])
    try:
        play = remembered.played(lines)
    except (RuntimeError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        models=remembered.figures(play),
        sentences=remembered.sentences(play, hours, lines.is_cut),
    )


if __name__ == "__main__":
    main()
