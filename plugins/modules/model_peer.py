#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Copies a model version from one host to another; how is in module_utils/models/peers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: model_peer
short_description: Copy a model version from one host to another
version_added: 0.2.0
description:
  - One host, the holder, offers a version to another, the reader. So the controller does not have to send a large
    version to each host.
  - What a version is comes from the controller, which has a copy of it. The reader compares the SHA-256 of each file,
    and believes nothing that the holder says.
  - What a reader has is seen by no server until M(tfserving.fleet.model_repository) publishes it, which then does not
    need it from the controller.
  - The content is not encrypted on the way. Whoever reads the traffic between the two hosts can read the model.
options:
  state:
    description:
      - V(query) tells which of O(models) are here.
      - V(offer) starts C(tfserving-peer.service), which sends the version to O(reader) and to nobody else. It has no
        capabilities, is idle for disk and CPU, and ends after five minutes without a request or after O(limit_s). It
        takes the place of an earlier offer.
      - V(withdraw) ends it.
      - V(pull) fetches the version from the holder at O(address). What came of a transfer that broke off is kept, and
        the next one goes on there.
    type: str
    choices: [query, offer, withdraw, pull]
    required: true
  models:
    description:
      - The models of the plan, as M(tfserving.fleet.model_repository) takes them. Only models that the controller sends
        to hosts can be copied.
    type: list
    elements: dict
    default: []
  sources:
    description: What may be secret of their sources, as M(tfserving.fleet.model_repository) takes it. It stays on the
      controller.
    type: str
    default: "{}"
  model:
    description: Name of the model.
    type: str
  version:
    description: The version.
    type: int
  address:
    description: Address of the holder, on which it listens.
    type: str
  port:
    description: The port on which it listens. Firewalls must let readers reach it.
    type: int
    default: 8491
  reader:
    description: Address of the reader, from which it calls the holder.
    type: str
  token:
    description: A secret of this one transfer, the same for holder and reader.
    type: str
  share:
    description: Percent of the speed of its network interface that a holder may use.
    type: float
    default: 50
  cpus:
    description: CPUs of the holder's service, such as V(0-1); all by default.
    type: str
    default: ""
  limit_s:
    description: Seconds after which a transfer is given up.
    type: float
    default: 3600
  manifest:
    description: What the action plugin knows of the version. Not for use in playbooks.
    type: dict
    default: {}
  root:
    description: Directory with one base path a model.
    type: path
    default: /var/lib/tfserving/models
  owner:
    description: Owner of everything received.
    type: str
    default: root
  group:
    description: Group of everything received.
    type: str
    default: root
  directory_mode:
    description: Mode of directories, octal.
    type: str
    default: "0755"
  file_mode:
    description: Mode of files, octal.
    type: str
    default: "0644"
  min_free_mb:
    description: MiB of the file system that a reader leaves free.
    type: int
    default: 1024
  imports:
    description: Directory on the controller with the manifests of imported versions, as
      M(tfserving.fleet.model_repository) takes it.
    type: path
  download_timeout:
    description: Seconds of silence after which the controller gives up the import of a version.
    type: int
    default: 60
author:
  - tfserving.fleet contributors (@tfserving)
attributes:
  check_mode:
    support: partial
    description: Whether nothing is changed in check mode.
    details: V(query) works. Nothing is offered or copied.
notes:
  - A transfer that fails does not fail the task. RV(complete) tells, so that a playbook can go on with another holder.
  - Needs root, and systemd on a holder.
seealso:
  - module: tfserving.fleet.model_repository
"""

EXAMPLES = r"""
- name: Offer version 7 to the other host
  tfserving.fleet.model_peer:
    state: offer
    models: "{{ tfserving_plan.models }}"
    model: ranker
    version: 7
    address: 10.0.0.1
    reader: 10.0.0.2
    token: "{{ token }}"
  when: inventory_hostname == 'a'

- name: Copy it
  tfserving.fleet.model_peer:
    state: pull
    models: "{{ tfserving_plan.models }}"
    model: ranker
    version: 7
    address: 10.0.0.1
    reader: 10.0.0.2
    token: "{{ token }}"
  when: inventory_hostname == 'b'
"""

RETURN = r"""
here:
  description: Which versions of O(models) are here, V(published) or copied and V(verified).
  returned: with O(state=query)
  type: dict
  sample: {ranker: {"6": published, "7": verified}}
complete:
  description: Whether the version is offered, or is here with all of its files verified.
  returned: with O(state=offer) and O(state=pull)
  type: bool
failure:
  description: Why not; empty if it is.
  returned: with O(state=offer) and O(state=pull)
  type: str
own:
  description: Whether that is this host's own trouble, such as a full disk, so that another holder would not help.
  returned: with O(state=offer) and O(state=pull)
  type: bool
received:
  description: Bytes that the holder has sent.
  returned: with O(state=pull), if complete
  type: int
resumed:
  description: Bytes that were here from an earlier transfer.
  returned: with O(state=pull), if complete
  type: int
rate:
  description: Bytes a second that are offered at most.
  returned: with O(state=offer)
  type: int
notes:
  description: What people should know of it.
  returned: with O(state=offer)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.models.peers.deed import carry_out

ARGUMENTS = {
    "state": {"type": "str", "choices": ["query", "offer", "withdraw", "pull"], "required": True},
    "models": {"type": "list", "elements": "dict", "default": []},
    "model": {"type": "str"},
    "version": {"type": "int"},
    "address": {"type": "str"},
    "port": {"type": "int", "default": 8491},
    "reader": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "share": {"type": "float", "default": 50.0},
    "cpus": {"type": "str", "default": ""},
    "limit_s": {"type": "float", "default": 3600.0},
    "manifest": {"type": "dict", "default": {}},
    "root": {"type": "path", "default": defaults.MODELS},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "directory_mode": {"type": "str", "default": "0755"},
    "file_mode": {"type": "str", "default": "0644"},
    "min_free_mb": {"type": "int", "default": 1024},
    # Read by the action on the controller, which passes none of them on.
    "sources": {"type": "str", "default": "{}", "no_log": True},
    "imports": {"type": "path"},
    "download_timeout": {"type": "int", "default": 60},
}
_NEEDED = ["model", "version", "address", "reader", "token"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "offer", _NEEDED), ("state", "pull", _NEEDED)],
    )
    if module.check_mode and module.params["state"] != "query":
        module.exit_json(skipped=True, msg="nothing is copied in check mode")
    try:
        module.exit_json(**carry_out(module.params, module.run_command, Tree()))
    except WishError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['root']}: {error.strerror}; check that host's files")


if __name__ == "__main__":
    main()
