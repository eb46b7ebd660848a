# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of lab.py: `build` makes artifacts to keep, `vm` is the virtual machine, the rest runs hosts and tests."""
