# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Builders of models: which environment a server's release needs there."""
