"""Writes one file into its compile cache, and says where that is and what was there."""

import os
from pathlib import Path

from greenlight.trials.child import serve


def run(request):
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    found = sorted(file.name for file in cache.iterdir())
    (cache / request["write"]).write_text("compiled")
    return {"cache": str(cache), "found": found}


serve(run)
