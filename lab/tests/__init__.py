# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A package, so that pytest puts the folder above it, and thereby fleet_lab, on the module path."""
