# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Trees of templates: which file comes from which template, and its content."""
