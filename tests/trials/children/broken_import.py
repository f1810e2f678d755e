"""A trial's child whose imports fail."""

import nothing_of_this_name  # noqa: F401
