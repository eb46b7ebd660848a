# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Renders a tree of templates on the controller and hands all of it to the host in one module call."""

from __future__ import annotations

import os
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import ARGUMENT_SPEC, check_options, pack
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.destinations import check_expand
from ansible_collections.tfserving.fleet.plugins.plugin_utils.templates.rendering import Renderer

MODULE = "tfserving.fleet.template_tree"
# What the host is told besides the files; the rest of the options (and the variables in them) stay here.
_FOR_THE_HOST = ("name", "dest", "attributes", "validate", "prune", "state", "state_path", "until_proven", "keep")


class ActionModule(Action):
    """One call to the host whatever the number of files."""

    ARGUMENTS = ARGUMENT_SPEC

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Check the options, render the tree, let the module do the rest."""
        options = self.options()
        check_options(options)
        check_expand(options["expand"])
        files = {}
        if options["state"] == "present":
            dest = self._task.args.get("dest", options["dest"])
            renderer = Renderer(self._loader, self._templar, task_vars)
            files = renderer.files(self._root(options["src"]), dest, options)
        arguments = {key: self._task.args[key] for key in _FOR_THE_HOST if key in self._task.args}
        arguments["_parcel"] = pack(files, sorted(options["expand"]))
        arguments["_largest_diff"] = constants.MAX_FILE_SIZE_FOR_DIFF
        result = self.call(MODULE, arguments, task_vars)
        if self._task.no_log:
            result.pop("diff", None)
        return result

    def _root(self, src: str) -> str:
        role = self._task._role
        if "src" not in self._task.args and role:
            # Ansible's search would go on to the playbook's own templates: not what a role without any means.
            root = os.path.join(role._role_path, src)
        else:
            try:
                root = self._find_needle("templates", src)
            except AnsibleError:
                problem = f"there is no directory '{src}'"
                raise WishError("src", problem, "give one of the role or an absolute path") from None
        if not os.path.isdir(root):
            raise WishError("src", f"{root} is not a directory", "give the directory that holds the templates")
        return root
