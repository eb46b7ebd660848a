# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet in slices: which playbooks may be sliced, who is in which, whose turn it is to restart, and the runner."""
