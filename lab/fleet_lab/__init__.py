# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What lab.py is made of: one module for each thing that the lab needs, in the order in which it is needed."""
