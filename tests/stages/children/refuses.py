"""Finds weights that are not those that the run was planned with."""

from greenlight.errors import NotAsPlanned
from greenlight.trials.child import serve


def run(request):
    raise NotAsPlanned("weights changed")


serve(run)
