#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts the calls of a roll-out's arms on a gateway; how is in module_utils/gateway/calls.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_calls
short_description: Count the calls of a roll-out's arms on a gateway
version_added: 0.2.0
description:
  - Counts the calls of a model that went to the canary and to the control, out of the lines that HAProxy writes into
    the journal for each call. Lines of all of its processes count, also of those that a reload has left to finish.
  - The counts only ever rise. They go on from where the last call of this module stopped. The first one of a roll-out,
    or of a run that takes one over, begins at 0.
  - Nothing is counted twice. Where its place in the journal is lost, counting goes on from now, and says so.
  - Each call writes a line of its own into the journal, and fails if the journal does not keep it.
  - Reads at most 128 MiB and for at most 8 seconds. The next call reads on.
  - Only calls that ask the model to compute count.
options:
  model:
    description: The name of the model.
    type: str
    required: true
  slow_ms:
    description:
      - From how many milliseconds on a call is slow. A call without an answer is slow in any case.
      - V(0) as long as that is not known. No call is slow then, and the latencies of the old version are returned.
    type: float
    default: 0
  unit:
    description: The unit of HAProxy.
    type: str
    default: haproxy.service
  socket:
    description: The socket of HAProxy's worker, which knows of lines that it could not hand over to the journal.
    type: path
    default: /run/haproxy/admin.sock
  log:
    description: The socket by which the journal gets lines.
    type: path
    default: /dev/log
  folder:
    description: The directory on the host that keeps what was counted.
    type: path
    default: /var/lib/tfserving-fleet/rollout/calls
  rollouts:
    description: The directory on the host with the records of roll-outs.
    type: path
    default: /var/lib/tfserving-fleet/rollout
attributes:
  check_mode:
    support: full
    description: >-
      Counts likewise, but writes no line, and does not keep what it has counted, so that the next call counts it again.
  diff_mode:
    support: none
    description: Counting changes nothing that anybody has set.
seealso:
  - module: tfserving.fleet.gateway_state
  - module: tfserving.fleet.rollout_watch
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Count the calls of both arms
  tfserving.fleet.gateway_calls:
    model: ranker
    slow_ms: 100
  register: calls
"""

RETURN = r"""
process:
  description: Changes when counting began anew, at 0.
  type: str
  returned: success
canary:
  description: >-
    The C(calls), those that were C(errors), and those that were C(slow). A call that its caller has given up is slow
    and no error. C(golden_calls) and C(golden_errors) are 0, as golden requests do not go through gateways.
  type: dict
  returned: success
control:
  description: The same of the control.
  type: dict
  returned: success
latencies:
  description: >-
    Of the C(control), and of the C(stable) servers that answer the calls of neither arm, how late they C(answered)
    (a histogram in microseconds), and how many answers are C(missing). Empty with O(slow_ms).
  type: dict
  returned: success
gap:
  description: What is missing in the counts since the last call, as the end of a sentence; empty if nothing is.
  type: str
  returned: success
behind:
  description: Whether the journal holds more than could be read in time.
  type: bool
  returned: success
age:
  description: Generation and revision of the roll-out that the gateway has a record of; null without one.
  type: list
  elements: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import calls, journal, log_socket, runtime
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "str", "required": True},
            "slow_ms": {"type": "float", "default": 0},
            "unit": {"type": "str", "default": journal.UNIT},
            "socket": {"type": "path", "default": runtime.SOCKET},
            "log": {"type": "path", "default": log_socket.PATH},
            "folder": {"type": "path", "default": calls.FOLDER},
            "rollouts": {"type": "path", "default": rollout_record.FOLDER},
        },
        supports_check_mode=True,
    )
    wish = module.params
    model = wish["model"]
    source = calls.Source(
        lambda: journal.place(wish["log"]),
        lambda cursor, here: journal.read(cursor, here, wish["unit"]),
        lambda: calls.haproxy(wish["socket"]),
    )
    try:
        known = rollout_record.record(model, wish["rollouts"]).found()
        generation = known["generation"] if known else 0
        kept = calls.record(model, wish["folder"])
        found = calls.counted(kept, model, wish["slow_ms"], source, generation, not module.check_mode)
    except (RuntimeError, WishError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, age=known and [known["generation"], known["revision"]], **found)


if __name__ == "__main__":
    main()
