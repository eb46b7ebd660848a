# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Traces of a server under load."""
