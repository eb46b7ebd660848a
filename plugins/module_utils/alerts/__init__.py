# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Alertmanager as it runs on a monitoring host."""
