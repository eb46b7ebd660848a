# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From evidence to findings, and from findings to a report."""
