# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Servers that others have set up on a host: what they are, and how one is stopped and started again."""
