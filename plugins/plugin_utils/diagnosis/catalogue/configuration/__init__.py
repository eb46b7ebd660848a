# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of settings."""
