#!/usr/bin/python
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Documentation of the builder_environment action, which runs on the controller alone."""

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_environment
short_description: Choose the environment that models for a server are made faster in
version_added: 0.2.0
description:
  - A server reads graphs of its own TensorFlow minor or older ones, so each minor has an environment of its own.
  - Refuses a release without locked wheels for the builder's Python, unless an image is named.
  - Runs on the controller; no host is contacted.
options:
  server_version:
    description: The release of the server, such as V(2.19.1).
    type: str
    required: true
  found:
    description: Version and machine of the builder's Python, such as V(3.11 x86_64); empty for one that does not run.
    type: str
    required: true
  image:
    description: An image by its digest, instead of a virtual environment.
    type: str
    default: ""
extends_documentation_fragment: tfserving.fleet.on_controller
author:
  - tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Choose the environment of a release
  tfserving.fleet.builder_environment:
    server_version: 2.19.1
    found: 3.11 x86_64
"""

RETURN = r"""
kind:
  description: V(environment) or V(image).
  type: str
  returned: success
minor:
  description: TensorFlow's minor.
  type: str
  returned: success
  sample: "2.19"
requirements:
  description: The file of the role P(tfserving.fleet.model_builder#role) with the pins; empty for an image.
  type: str
  returned: success
  sample: requirements-2.19.txt
"""
