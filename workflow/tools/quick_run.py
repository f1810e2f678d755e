"""Runs of the gate without Snakemake and with cheap trials, for benchmarks and tests that need many of them.

The stages are those of the workflow and leave the same files. Only how a child of a stage is run is for the caller to
say: a fork of a process that has imported torch costs milliseconds, a new interpreter seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from greenlight.judgement.judge import Verdict
from greenlight.layout import Layout
from greenlight.run.jobs import Plan
from greenlight.run.judging import judge_run
from greenlight.run.planning import make_plan
from greenlight.run.stages.call import call
from greenlight.run.stages.compile_variant import compile_variant
from greenlight.run.stages.expect import expect
from greenlight.run.stages.predict import predict
from greenlight.run.stages.prepare import prepare
from greenlight.run.stages.probe import probe
from greenlight.run.stages.replicate import replicate
from greenlight.run.stages.score import score
from greenlight.run.stages.time_variant import time_variant
from greenlight.run.stages.weights import find_weights
from greenlight.run.trial import BATCH_SIZES, Runner
from greenlight.variants import Variant

STAGES = ("compile", "predict", "probe", "call", "time")


def trial_of(request: Mapping[str, Any], result: Any, kind: str = "ok", message: str = "") -> dict[str, Any]:
    """The record of a trial that did what a request asks for in the sizes that it asks for, or ended by an error."""
    sizes = {name: request[name] for name in BATCH_SIZES if name in request}
    how = {"attempts": [], "sizes": sizes, "reduced": "", "code_run": {}, "environment": {}}
    return {"kind": kind, "message": message, **how, "result": result}


class QuickRun:
    """One results folder and the means to fill and judge it.

    Args:
        config: the configuration, as for the workflow.
        run: runs a child of a stage and returns a trial's record.
    """

    def __init__(self, config: Mapping[str, Any], run: Runner) -> None:
        self.plan: Plan
        self.layout: Layout
        self.plan, self.layout = make_plan(config, [])
        self.run = run

    @property
    def symbols(self) -> list[str]:
        """The symbols; one shard holds them all."""
        (shard,) = self.plan.shards
        return list(shard)

    def begin(self) -> None:
        """Prepare the prices, find the weights, write the manifest."""
        files = [str(self.plan.symbols[name]) for name in self.symbols]
        prepare(self.layout, self.plan.job("prepare", 0), argparse.Namespace(files=files))
        for model, _ in self.plan.settings.models.items():
            find_weights(self.layout, self.plan.job("weights", model), argparse.Namespace())
        expect(self.layout, self.plan.job("expect"), argparse.Namespace())

    def measure(self, model: str, variant: str, stages: tuple[str, ...] = STAGES) -> None:
        """Run those of the stages that a variant has."""
        options, plan = argparse.Namespace(symbols=self.symbols), self.plan
        if "compile" in stages and Variant.parse(variant).compiled:
            compile_variant(self.layout, plan.job("compile", model, variant), options, self.run)
        if "predict" in stages:
            predict(self.layout, plan.job("predict", model, variant, 0), options, self.run)
        if "probe" in stages:
            probe(self.layout, plan.job("probe", model, variant), options, self.run)
        if "call" in stages and (model, variant) in plan.called:
            call(self.layout, plan.job("call", model, variant), options, self.run)
        if "time" in stages and (model, variant) in plan.timed:
            time_variant(self.layout, plan.job("time", model, variant), options, self.run)

    def judge(self, models: Collection[str] | None = None) -> Verdict:
        """Score what there is, forecast with further seeds where that leaves something open, and judge the run.

        Args:
            models: those whose scores are missing or old; None: all.
        """
        for model in [model for model, _ in self.plan.settings.models.items()] if models is None else models:
            score(self.layout, self.plan.job("score", model), argparse.Namespace())
        for model in (one for one in self.plan.partners if models is None or one in models):
            replicate(self.layout, self.plan.job("replicate", model), argparse.Namespace(), self.run)
        rules = self.plan.settings.rules.model_dump(mode="json")
        return judge_run(self.layout, rules, Path(self.plan.settings.baselines_folder))[-1]
