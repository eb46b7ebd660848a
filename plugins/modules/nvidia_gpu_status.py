#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Says whether a host's GPUs are fit to serve; the checks are in module_utils/gpus/health.py."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nvidia_gpu_status
short_description: Check whether a host's NVIDIA GPUs are fit to serve
version_added: 0.1.0
description:
  - Looks at the kernel modules, at the versions of kernel and libraries, at the number of GPUs, at memory errors and
    memory that was set aside, at what holds the clocks back, and at Xid errors in the kernel log.
  - Each finding has a status, and where something is to be done, the action that NVIDIA recommends. The module reports
    and does not act.
options:
  expected_gpus:
    description: How many GPUs the host should have. Left out, it is as many as are on its PCI bus.
    type: int
  accept:
    description:
      - The worst status that is accepted. With a worse one the module fails, and its message has the findings.
      - What could not be asked (V(unknown)) is worse than a warning. V(critical) accepts everything.
    type: str
    choices: [pass, info, warning, unknown, critical]
    default: critical
  ignore:
    description:
      - GPUs that are left out, by PCI address (V(0000:3b:00.0)) or by vendor and device id (V(10de:128b)). Those
        that C(vfio-pci) or another such driver holds, virtual functions (SR-IOV), and those that the running driver no
        longer drives are not missed anyway.
    type: list
    elements: raw
    default: []
  kernel_log:
    description:
      - A file to read in place of the kernel log of this boot, such as one that was saved before a reboot. Of a large
        one the end is read.
    type: path
  sysroot:
    description: Root of the machine to read.
    type: path
    default: /
  timeout:
    description:
      - Seconds to wait for each answer of C(nvidia-smi). Without the persistence daemon it initialises every GPU before
        it answers.
    type: int
    default: 30
attributes:
  check_mode:
    description: Reads only, so check mode is no different.
    support: full
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Insist on eight healthy GPUs
  tfserving.fleet.nvidia_gpu_status:
    expected_gpus: 8
    accept: warning
"""

RETURN = r"""
verdict:
  description: The worst status of all findings.
  returned: always
  type: str
  sample: pass
findings:
  description: One entry for each check and GPU.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: >-
        V(modules), V(versions), V(nvidia_smi), V(count), V(state) (lost, waiting for a reset, or not telling a UUID of
        its own), V(ecc_mode), V(ecc), V(retired_memory), V(throttle), V(xid) (also errors that the driver logs without
        a number) or V(sxid).
      type: str
    status:
      description: V(pass), V(info), V(warning), V(unknown) or V(critical).
      type: str
    detail:
      description: What was found, in a few words.
      type: str
    gpu:
      description: PCI address of the GPU; empty where it concerns the host.
      type: str
    action:
      description: >-
        What to do, in a word, empty for nothing: V(restart_app), V(drain_p2p), V(recover_imex), V(reset_gpu),
        V(restart_host), V(check_mechanicals), V(update_software) or V(contact_support).
      type: str
    advice:
      description: The action as a sentence.
      type: str
gpus:
  description:
    - What C(nvidia-smi) said of each GPU; null where it is not there or refused.
    - Where a value is null, C(absent) says why by its name. V(lacking) - this GPU has none, V(not_asked) - this branch
      of the driver cannot tell, V(forbidden), V(failed), V(needs_reset) or V(lost).
  returned: always
  type: list
  elements: dict
driver:
  description: C(version) and C(flavour) of the loaded driver, its C(modules), and the C(library_version).
  returned: always
  type: dict
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import findings as gpu_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import health as gpu_health
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import reading as gpu_reading
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xids
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible


def told(finding: gpu_findings.Finding) -> dict[str, str]:
    """Return a finding as plain data, with the advice in words."""
    return {**finding._asdict(), "detail": visible(finding.detail), "advice": xids.ADVICE.get(finding.action, "")}


def sentence(finding: gpu_findings.Finding) -> str:
    """Return a finding as a line for people."""
    place = f"GPU {finding.gpu}: " if finding.gpu else ""
    advice = f"; {xids.ADVICE[finding.action]}" if finding.action else ""
    return visible(f"{place}{finding.detail}{advice}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "expected_gpus": {"type": "int"},
            "accept": {"type": "str", "choices": list(gpu_findings.ORDER), "default": gpu_findings.CRITICAL},
            "ignore": {"type": "list", "elements": "raw", "default": []},
            "kernel_log": {"type": "path"},
            "sysroot": {"type": "path", "default": "/"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    options = module.params
    ask = partial(nvidia_smi.run, timeout=options["timeout"])
    try:
        ignored = driver_gpus.checked(options["ignore"])
    except WishError as error:
        module.fail_json(msg=str(error))
    run = process_facts.runner(module)
    reading = gpu_reading.read(Tree(options["sysroot"]), ask, run, options["kernel_log"], ignored)
    findings = gpu_health.examine(reading, options["expected_gpus"])
    accepted = gpu_findings.ORDER.index(options["accept"])
    worse = [finding for finding in findings if gpu_findings.ORDER.index(finding.status) > accepted]
    result = {
        "verdict": gpu_findings.verdict(findings),
        "findings": [told(finding) for finding in findings],
        "gpus": reading["smi"]["gpus"],
        "driver": {**reading["loaded"], "library_version": reading["library_version"]},
    }
    if worse:
        module.fail_json(msg="\n".join(map(sentence, worse)), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
