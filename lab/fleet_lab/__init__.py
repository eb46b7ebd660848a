# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What lab.py is made of: `build` makes what is kept, `vm` is the virtual machine, the rest runs hosts and tests."""
