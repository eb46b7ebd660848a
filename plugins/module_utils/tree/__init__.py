# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tree of files that a host is brought in line with in one step, or not at all."""
