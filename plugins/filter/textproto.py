# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
name: textproto
short_description: Writes plain data as a text-format protocol buffer file of TensorFlow Serving
version_added: 0.1.0
author:
  - tfserving.fleet contributors (@tfserving)
description:
  - Writes the files that flags of C(tensorflow_model_server) name.
  - >-
    A field that the server does not know makes it refuse the whole file, and some files parse and still keep every
    model from loading. This filter checks names, types and the documented rules first, and says in one
    sentence what to write.
  - Wrapped scalars are wrapped here, so C(max_batch_size) takes a plain number.
  - >-
    The fields were taken from a survey of the server's source, and those of C(ConfigProto) from a TensorFlow package;
    C(plugins/plugin_utils/tables/messages.yml) names both. An older server refuses a file that names a field of a newer
    one, and logs the field's name with its position.
positional: message
options:
  _input:
    description:
      - Names of fields and their values. A message or a map is written as a mapping, a repeated field as a list.
      - A field whose value is V(null) is left out.
    type: dict
    required: true
  message:
    description: The message to write.
    type: str
    required: true
    choices:
      ModelServerConfig: For the flag C(model_config_file).
      BatchingParameters: For the flag C(batching_parameters_file), or C(batching_params.pbtxt) in a version directory.
      MonitoringConfig: For the flag C(monitoring_config_file).
      SSLConfig: For the flag C(ssl_config_file). Holds the private key, so the file needs the mode of a key.
      SessionConfigProto: For the flag C(tensorflow_session_config_file).
      ConfigProto: Another name of V(SessionConfigProto).
  path:
    description: What errors call the data, so that they name the variable that the user wrote.
    type: str
    default: ""
  version:
    description:
      - The release that will read the file, as three numbers in quotes. One newer than all surveyed releases may know
        more fields; these are refused as not surveyed, unless O(allow_unsurveyed) is set.
      - Without it, a surveyed release is meant.
    type: str
    default: ""
  allow_unsurveyed:
    description:
      - Write fields that no surveyed release has, where O(version) is newer than all of these. A mapping is written as
        a message, a list as a repeated field, and anything else by its type; nothing else is checked.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write a list of models
  ansible.builtin.copy:
    dest: /etc/tfserving/ranker/models.config
    mode: "0644"
    content: "{{ models | tfserving.fleet.textproto('ModelServerConfig') }}"
  vars:
    models:
      model_config_list:
        config:
          - name: ranker
            base_path: /var/lib/tfserving/models/ranker
            model_platform: tensorflow
            model_version_policy: {specific: {versions: [6, 7]}}
            version_labels: {stable: 6, canary: 7}

- name: Show batching parameters
  ansible.builtin.debug:
    msg: "{{ batching | tfserving.fleet.textproto('BatchingParameters') }}"
  vars:
    batching: {max_batch_size: 32, batch_timeout_micros: 2000, allowed_batch_sizes: [8, 16, 32]}
"""

RETURN = r"""
_value:
  description:
    - The file. It begins with a comment, because the server refuses an empty file, and ends with a line break.
    - The same data gives the same text, whatever the order of its keys.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import render


def textproto(
    data: Mapping[str, Any], message: str, path: str = "", version: str = "", allow_unsurveyed: bool = False
) -> str:
    """Return ``data`` as the text format of ``message``; see DOCUMENTATION. Raises AnsibleFilterError."""
    try:
        return render(data, message, path, version, allow_unsurveyed=allow_unsurveyed)
    except WishError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter's registration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filter by its name."""
        return {"textproto": textproto}
