# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Contents of a tree's files, byte for byte as ansible.builtin.template renders them with its defaults."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.template import generate_ansible_template_vars, trust_as_template
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import Rendered
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import secrecy

from .destinations import SUFFIX, Entry, destinations
from .discretion import discreet

# The defaults of ansible.builtin.template that differ from Jinja's.
_OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}

# The handling of errors while a template is rendered.
Careful = Callable[[str], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True)
class Renderer:
    """A renderer with a task's loader, templar and variables."""

    loader: Any
    templar: Any
    variables: Mapping[str, Any]

    def files(self, root: str, dest: str, options: Mapping[str, Any]) -> dict[str, Rendered]:
        """Return the files of the tree below ``root`` by their path below ``dest``, or raise WishError."""
        secrets = secrecy(options["attributes"])
        files = {}
        for path, (source, entries) in destinations(root, options["expand"], options["exclude"]).items():
            careful = discreet if secrets.secret(path) else contextlib.nullcontext
            content = self._content(root, source, os.path.join(dest, path), entries, careful)
            files[path] = Rendered(content, source, {key: str(entry["name"]) for key, entry in entries.items()})
        return files

    def text(self, path: str) -> str:
        """Return what a template says, as it would be laid down where it is."""
        return self._rendered(path, path, path, dict(self.variables), contextlib.nullcontext).decode("utf-8")

    def _content(
        self, root: str, source: str, destination: str, entries: Mapping[str, Entry], careful: Careful
    ) -> bytes:
        full = os.path.join(root, source)
        try:
            if source.endswith(SUFFIX):
                return self._rendered(full, source, destination, {**self.variables, **entries}, careful)
            with open(self.loader.get_real_file(full), "rb") as file:
                content: bytes = file.read()
                return content
        except OSError as error:
            raise WishError(full, f"cannot be read ({error.strerror})", "correct src or the rights") from error
        except AnsibleError as error:
            where = ", ".join(f"{key} {entry['name']}" for key, entry in entries.items())
            raise WishError(f"{full} ({where})" if where else full, str(error), "") from error

    def _rendered(self, full: str, source: str, destination: str, variables: dict[str, Any], careful: Careful) -> bytes:
        template = trust_as_template(self.loader.get_text_file_contents(full))
        own = generate_ansible_template_vars(source, full, destination)
        if "ansible_managed" in variables:
            del own["ansible_managed"]
        places = [*variables.get("ansible_search_path", []), self.loader.get_basedir(), os.path.dirname(full)]
        templar = self.templar.copy_with_new_env(
            searchpath=[path for place in places for path in (os.path.join(place, "templates"), place)],
            available_variables={**variables, **own},
        )
        with careful(template):
            result = templar.template(template, escape_backslashes=False, overrides=_OVERRIDES)
            content: bytes = to_bytes("" if result is None else result, errors="surrogate_or_strict")
        return content
