#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of template_tree that runs on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: template_tree
short_description: Bring a whole tree of templated files in line, all of it or nothing
version_added: 0.1.0
description:
  - Renders every file below O(src) on the controller and brings the host in line in a single call, however many files
    there are. A run that changes nothing costs one round trip.
  - The tree mirrors the host. C(templates/etc/default/app.j2) becomes C(/etc/default/app).
  - Files ending in C(.j2) are rendered exactly as M(ansible.builtin.template) renders them with its defaults, and lose
    the ending. All other files are copied byte by byte.
  - Either all files are replaced or none. New files are staged beside their destinations, put through their
    validators, and only then renamed into place. After a failure on the way (a validator's refusal, a full disk) every
    file is as it was. What a power cut or a killed run left half done is put back by the next run before anything else.
  - Remembers which files it wrote, removes them when they leave the tree, and can take back the last change.
options:
  name:
    description:
      - What this tree is called on the host, where its records live below O(state_path).
      - Trees of different names must not share files.
    type: str
    required: true
  src:
    description:
      - The directory that holds the tree, looked for as M(ansible.builtin.template) looks for a template.
      - Left out in a role, it is the role's own C(templates) and no other.
    type: str
    default: templates
  dest:
    description:
      - The directory of the host that the tree is written below. It is created when missing; its parent must exist.
      - Below it, parents that are symbolic links are followed only where root alone could have placed them, such as
        C(/lib). A destination that is itself a link is replaced, what it points to is left alone.
    type: path
    default: /
  expand:
    description:
      - Lists of mappings by the name of a placeholder. A file whose path holds the placeholder in braces, such as
        C(etc/app/{instance}/environment.j2), is rendered once for each entry of the list.
      - The entry's C(name) takes the placeholder's place, and the entry is the variable of the placeholder's name while
        the file is rendered.
      - Names begin with a letter or digit and hold only letters, digits and C(_.-).
    type: dict
    default: {}
  attributes:
    description:
      - Owners and modes. For each file the first entry whose pattern matches counts, and no other. Where it is silent,
        files are C(root:root) and C(0644), directories C(0755); without root's rights, owners are left as they are.
      - Directories that the tree created are kept so as well. A directory that was there before is changed only by an
        entry whose pattern is its very path, without wildcards, and which has a C(directory_mode).
    type: list
    elements: dict
    default: []
    suboptions:
      pattern:
        description:
          - A path relative to O(dest). C(*) and C(?) stay within one part of the path, C(**) crosses parts, and
            C([abc]) is one of these letters.
          - A pattern ending in C(/**) means the directory before it as well.
        type: str
        required: true
      owner:
        description: Name or number of the user who owns the files.
        type: str
      group:
        description: Name or number of the group that owns the files.
        type: str
      mode:
        description: Mode of files, in octal and in quotes, such as V('0640').
        type: raw
      directory_mode:
        description: Mode of directories, in octal and in quotes, such as V('0750').
        type: raw
      secret:
        description:
          - Whether the files hold secrets, V(true) or V(false). Nothing of their contents is then shown, neither in a
            diff nor in an error message. A diff says that such a file is new, changed or removed, without a checksum
            or a size; owners and modes are shown as ever.
          - The words of a failed rendering or of a validator may repeat the contents and are withheld as well. An
            undefined variable is named if the template itself names it.
          - The host remembers which files were secret when they were written. They stay hidden when they are removed
            or taken back, and when this option has been taken away, until other contents have replaced theirs.
          - It does not make the files unreadable; give them an O(attributes[].mode) for that.
          - The default is V(false).
        type: raw
  validate:
    description:
      - Commands that must accept a new or changed file before any file is replaced. All whose pattern matches are run,
        without a shell, once for each file. Not run in check mode, where what they need may not be installed yet.
      - A staged file has its real name, in a private directory beside its destination. Commands that judge by the
        ending, such as C(systemd-analyze verify), work; those that read neighbouring files see the old ones.
    type: list
    elements: dict
    default: []
    suboptions:
      pattern:
        description: A path relative to O(dest), as in O(attributes[].pattern).
        type: str
        required: true
      command:
        description: The command, with C(%s) for the path of the staged file.
        type: str
        required: true
  exclude:
    description:
      - Patterns of files to leave out, matched against the path below O(src) and against the path below O(dest).
      - A file that the tree once wrote and now leaves out is removed like any other that has left the tree.
    type: list
    elements: str
    default: []
  prune:
    description:
      - Whether to remove files that this tree once wrote and no longer holds, and directories it created that are now
        empty.
      - A file that was edited on the host since is removed too, with a warning; O(state=reverted) brings it back.
      - A file that was already as wanted when the tree first met it was not written by the tree and stays.
    type: bool
    default: true
  state:
    description:
      - V(present) brings the host in line with the tree.
      - V(absent) removes all files and directories that the tree wrote. O(src) is not read.
      - V(reverted) takes back the last change, whether made by V(present) or V(absent); files it replaced or removed
        return with their owners and modes, files it created go. There is one step back; a second run changes nothing.
      - V(restored) takes back all changes since the last state that was proven, however many there were and whichever
        runs made them, a killed one included. It needs O(until_proven) with every change.
      - V(proven) says that what the files call for works, and forgets what V(restored) would bring back.
    type: str
    default: present
    choices: [present, absent, reverted, restored, proven]
  until_proven:
    description:
      - Whether to remember how the files were before the first of these changes, until somebody has proven that what
        they call for works, with O(state=proven) or with the option C(tree) of M(tfserving.fleet.serving_instances).
    type: bool
    default: false
  keep:
    description:
      - With O(state=restored), the entries that are left as they are; lists of names by the placeholder of O(expand).
    type: dict
    default: {}
  state_path:
    description:
      - Directory of the host for the records of all trees, one directory each, readable by root alone.
      - Besides records they hold the files of the last change for O(state=reverted).
    type: path
    default: /var/lib/tfserving-fleet/trees
  _parcel:
    description: The rendered files. The action sets it, nobody else.
    type: str
  _largest_diff:
    description: The size in bytes above which a difference is not shown. The action sets it, nobody else.
    type: int
    default: 0
notes:
  - Staged files are in directories called C(.NAME-ID.new) and C(.NAME-ID.old) beside their destinations for the time of
    the change, so that each replacement is a rename within one file system.
  - A file that is itself a mount point cannot be replaced; the run fails and changes nothing.
attributes:
  action:
    support: full
    description: Templates are rendered on the controller.
  async:
    support: none
    description: Does not run in the background.
  check_mode:
    support: full
    description: Says what a run would do and writes nothing. An account that does not exist yet is a warning only.
  diff_mode:
    support: full
    description:
      - Shows contents, and owners and modes, as M(ansible.builtin.template) does, save the contents of files that are
        O(attributes[].secret).
  vault:
    support: full
    description: Encrypted files in the tree are decrypted.
seealso:
  - module: ansible.builtin.template
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Bring the files of all instances in line
  tfserving.fleet.template_tree:
    name: tfserving
    expand:
      instance: "{{ plan.instances }}"
    attributes:
      - pattern: etc/tfserving/*/environment
        mode: '0600'
        secret: true
      - pattern: etc/tfserving/**
        group: tfserving
        mode: '0640'
        directory_mode: '0750'
    validate:
      - pattern: etc/systemd/system/*.service
        command: systemd-analyze verify %s
  register: files

- name: Restart the instances whose files changed
  ansible.builtin.systemd_service:
    name: tfserving@{{ item }}.service
    state: restarted
  loop: "{{ files.changed_by.instance.keys() | list }}"

- name: Take the last change back
  tfserving.fleet.template_tree:
    name: tfserving
    state: reverted

- name: Remove everything the tree wrote
  tfserving.fleet.template_tree:
    name: tfserving
    state: absent
"""

RETURN = r"""
changed_files:
  description:
    - Absolute paths of all files whose content, owner or mode changed, of new and of removed files, and of directories
      that were there before and whose owner or mode changed. Sorted.
    - Includes the paths of an interrupted earlier run, which could not report them.
  returned: success
  type: list
  elements: str
  sample: [/etc/tfserving/ranker/environment]
created:
  description: Those of RV(changed_files) that were not there before.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: Those of RV(changed_files) that are gone.
  returned: success
  type: list
  elements: str
  sample: []
changed_by:
  description:
    - The changed files by placeholder of O(expand) and entry. Only entries with changes are there, among them entries
      that are no longer listed and whose files were removed.
  returned: success
  type: dict
  sample: {instance: {ranker: [/etc/tfserving/ranker/environment]}}
recovered:
  description: Whether an earlier run had been cut short and its traces were cleared first.
  returned: success
  type: bool
  sample: false
unproven:
  description: Whether there are unproven changes, of this run or an earlier one; see O(until_proven).
  returned: success
  type: bool
  sample: false
tree:
  description: Number of files in the tree.
  returned: success
  type: int
  sample: 12
"""

import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import (
    Plan,
    Rendered,
    plan_reverted,
    plan_tree,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.diff import differences
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.files import Host
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import (
    ARGUMENT_SPEC,
    check_options,
    rules,
    secrecy,
    unpack,
    validator,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.point import plan_restored
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.state import Record
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Tree

# From the action alone. As no_log the parcel, and with it the files' contents, stays out of the system's log and of
# the invocation in the result; being one long string, hiding it hides nothing else.
_INTERNAL = {
    "_parcel": {"type": "str", "no_log": True},
    "_largest_diff": {"type": "int", "default": 0},
}


def main() -> None:
    """Run on the host."""
    module = AnsibleModule({**ARGUMENT_SPEC, **_INTERNAL}, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except WishError as error:
        module.fail_json(msg=str(error))


def run(module: AnsibleModule) -> dict[str, Any]:
    """Do what the parameters say and return the result."""
    options = module.params
    check_options(options)
    if not os.path.isabs(options["dest"]):
        raise WishError("dest", f"'{options['dest']}' is not an absolute path", "begin it with /")
    if options["_parcel"] is None:
        raise WishError("", "template_tree cannot run without its action plugin", "call it from a task")
    files, placeholders = unpack(options["_parcel"])
    tree = Tree(options["state_path"], options["name"], options["dest"])
    if options["state"] == "proven" and not module.check_mode:
        tree.prove()
    warnings: list[str] = []
    planner = _planner(module, tree, files, warnings)
    validate = validator(options["validate"], tree.host.path, lambda command: _execute(module, command))
    outcome = tree.run(planner, validate, module.check_mode, options["until_proven"])
    for warning in [*warnings, *outcome.warnings]:
        module.warn(warning)
    result = {**outcome.report, "changed": outcome.changed, "recovered": outcome.recovered, "tree": len(files)}
    result["unproven"] = tree.unproven()
    result["changed_by"] = {**{placeholder: {} for placeholder in placeholders}, **outcome.report["changed_by"]}
    if module._diff:
        result["diff"] = differences(outcome.plan, tree.host, options["_largest_diff"])
    return result


def _planner(
    module: AnsibleModule, tree: Tree, files: dict[str, Rendered], warnings: list[str]
) -> Callable[[Host, Record], Plan]:
    options = module.params
    if options["state"] == "reverted":
        secrets = secrecy(options["attributes"])
        return lambda host, manifest: plan_reverted(host, manifest, tree.kept, secrets)
    if options["state"] == "restored":
        secrets = secrecy(options["attributes"])
        return lambda host, manifest: plan_restored(host, manifest, tree.store, secrets, options["keep"])
    if options["state"] == "proven":
        return lambda host, manifest: Plan(files=manifest["files"], directories=manifest["directories"])
    if options["state"] == "absent":
        secrets = secrecy(options["attributes"])
        return lambda host, manifest: plan_tree(host, {}, secrets, manifest, prune=True)
    attributes = rules(options["attributes"], warnings if module.check_mode else None)
    return lambda host, manifest: plan_tree(host, files, attributes, manifest, options["prune"])


def _execute(module: AnsibleModule, command: list[str]) -> tuple[int, str]:
    status, output, errors = module.run_command(command, handle_exceptions=False)
    return status, "\n".join(text.strip() for text in (output, errors) if text.strip())


if __name__ == "__main__":
    main()
