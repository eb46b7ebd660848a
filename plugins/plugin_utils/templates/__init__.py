# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Trees of templates: destinations and contents of their files."""
