#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Holds packages at their version, and later lifts exactly its own holds."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: package_holds
short_description: Hold a set of packages, and later lift exactly these holds
version_added: 0.1.0
description:
  - Sets all holds in one call and remembers on the host which are its own. Holds that were there before stay when the
    set shrinks or goes.
  - Names in O(names) that are not installed are skipped, because a hold needs an installed package.
  - A package of a foreign architecture is named with it (V(libcuda1:i386)).
options:
  name:
    description: What this set is called in its record.
    type: str
    required: true
  names:
    description: Packages to hold. An empty list lifts all holds of the set.
    type: list
    elements: str
    default: []
  record_path:
    description: Directory of the records.
    type: path
    default: /var/lib/tfserving-fleet/holds
attributes:
  check_mode:
    support: full
    description: Says which holds would change.
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Keep the driver where it is
  tfserving.fleet.package_holds:
    name: nvidia-driver
    names: [libcuda1, nvidia-kernel-dkms]

- name: Let it go
  tfserving.fleet.package_holds:
    name: nvidia-driver
"""

RETURN = r"""
held:
  description: Holds that were set, or would be.
  returned: success
  type: list
  elements: str
released:
  description: Holds that were lifted, or would be.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import dpkg_names
from ansible_collections.tfserving.fleet.plugins.module_utils.host.holds import difference, record


def selections(module: AnsibleModule) -> dict[str, bool]:
    """Return the installed packages, and for each whether it is held."""
    form = dpkg_names.FIELD + " ${db:Status-Want} ${db:Status-Status}\n"
    _status, out, _err = module.run_command(["dpkg-query", "--show", "--showformat", form], check_rc=True)
    own = dpkg_names.architecture(module.run_command)
    rows = (line.split() for line in out.splitlines())
    return {
        dpkg_names.plain(name, own): want == "hold"
        for name, want, status in rows
        if status not in ("not-installed", "config-files")
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "record_path": {"type": "path", "default": "/var/lib/tfserving-fleet/holds"},
        },
        supports_check_mode=True,
    )
    try:
        hold(module)
    except (WishError, OSError) as error:
        module.fail_json(msg=str(error))


def hold(module: AnsibleModule) -> None:
    """Do what the parameters say and end the module."""
    ours = record(module.params["record_path"], module.params["name"])
    installed = selections(module)
    wanted = [name for name in module.params["names"] if name in installed]
    change = difference(wanted, [name for name, held in installed.items() if held], ours.load() or [])
    if not module.check_mode:
        # Written down first: after a run that was killed here, a hold too many in the record does no harm.
        ours.save(change.ours)
        for action, names in (("hold", change.hold), ("unhold", change.release)):
            if names:
                module.run_command(["apt-mark", action, *names], check_rc=True)
    module.exit_json(changed=bool(change.hold or change.release), held=change.hold, released=change.release)


if __name__ == "__main__":
    main()
