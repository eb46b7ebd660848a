# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Options of the modules that compare running instances with a plan."""

from __future__ import annotations


class ModuleDocFragment:
    """The part of a plan that such a module is given, and where its units and models are."""

    DOCUMENTATION = r"""
options:
  instances:
    description:
      - The instances of the plan. Read are C(name), C(ports.rest), C(model_config), C(start_timeout_s) and C(flags).
    type: list
    elements: dict
    required: true
  models:
    description: The models of the plan. Read are C(name), C(probe) and C(contract).
    type: list
    elements: dict
    default: []
  model_root:
    description: Directory of the models that name no C(base_path).
    type: path
    default: /var/lib/tfserving/models
  unit_template:
    description: The unit of an instance; C({name}) stands for the instance's name.
    type: str
    default: tfserving@{name}.service
"""
