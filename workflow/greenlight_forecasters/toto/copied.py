"""A copy of the published code, from a folder that the configuration names."""

from __future__ import annotations

from pathlib import Path

from greenlight.api import LoadOptions, UserError
from greenlight_forecasters.toto.checkpoint import find
from greenlight_forecasters.toto.published import load_published, package_of_copy
from greenlight_forecasters.toto.upstream import TotoUpstream


class TotoCopy(TotoUpstream):
    """`upstream` by the code of a copy; the settings are the same."""

    @classmethod
    def load(cls, options: LoadOptions) -> TotoCopy:
        """Load the copy in `options.code` with a checkpoint's weights; UserError where they do not fit."""
        package = package_of_copy(Path(options.code))
        folder = find(options.source, options.revision)
        try:
            return cls(load_published(folder, package), options, package)
        except UserError as error:
            raise UserError(f"models.toto.code: {options.code}: its Toto does not fit the weights ({error})") from error
