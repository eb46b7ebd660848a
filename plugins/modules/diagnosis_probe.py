#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the diagnosis_probe action, which runs the load generator on a load host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_probe
short_description: Measure the calls to the instances of a host while its evidence is read
version_added: 0.2.0
description:
  - Starts the load generator on a load host, for each instance of the plan in force of the host that is diagnosed, and
    returns at once; with O(state=fetched) it waits for the results.
  - Each instance gets 8 calls a second by one connection, at most three instances of a host at a time, and as many
    through the first host of the group C(tfserving_gateways) for the instances that no earlier host of the play has.
  - The requests are the probe of the model, or made from its signature, as those of C(benchmark.yml).
  - What cannot be called fails nothing. It is in RV(unread) with its reason.
  - Delegate it to the load host.
options:
  load_host:
    description: The name of the load host, for messages.
    type: str
    required: true
  generator:
    description: What the role P(tfserving.fleet.load_generator#role) has installed there, its C(load_generator_result).
    type: dict
    required: true
  state:
    description: Whether to start the probes, or to fetch what they saw and remove what they left.
    type: str
    choices: [started, fetched]
    required: true
  plan:
    description: The plan in force of the host. Without one nothing is probed.
    type: dict
    default: {}
  instances:
    description: The instances to probe; all where it is empty.
    type: list
    elements: str
    default: []
  seconds:
    description: How long to measure, at most 15.
    type: float
    default: 10
  given:
    description: Variables of C(benchmark.yml), of which C(protocol) and those of TLS count.
    type: dict
    default: {}
  folder:
    description: For O(state=fetched) the folder that O(state=started) returned.
    type: str
  running:
    description: For O(state=fetched) the probes that O(state=started) returned.
    type: list
    elements: dict
    default: []
attributes:
  action:
    support: full
    description: Runs commands on the load host; the rest is done on the controller.
  check_mode:
    support: none
    description: It sends calls, and is for a run that measures.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Start the probes
  tfserving.fleet.diagnosis_probe:
    load_host: load-1
    generator: "{{ load_generator_result }}"
    state: started
    plan: "{{ record.plan }}"
  delegate_to: load-1
  register: probing

- name: Fetch their results
  tfserving.fleet.diagnosis_probe:
    load_host: load-1
    generator: "{{ load_generator_result }}"
    state: fetched
    folder: "{{ probing.folder }}"
    running: "{{ probing.running }}"
  delegate_to: load-1
"""

RETURN = r"""
running:
  description: The probes that were started.
  type: list
  elements: dict
  returned: with O(state=started)
folder:
  description: Where they are on the load host.
  type: str
  returned: with O(state=started)
client:
  description: What calls to each instance took, by its name, with those through a gateway below C(gateway).
  type: dict
  returned: with O(state=fetched)
  sample:
    ranker: {via: direct, entrypoint: GRPC, calls: 80, statuses: {OK: 80}, mean_ms: 12.1, p50_ms: 11.8, network_ms: 0.2}
unread:
  description: What could not be probed, as C(source) and C(why).
  type: list
  elements: dict
  returned: success
"""
