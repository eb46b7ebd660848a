# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A tree of files that is brought in line on a host in one step, or not at all."""
