# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The benchmarks of `mmr1 eval --benchmarks`, one file each. Importing this loads no heavy library."""

from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.evaluation.benchmarks.base import Benchmark, load_benchmark, prepare_benchmark
from mmr1_trl.evaluation.benchmarks.chartqa import CHARTQA
from mmr1_trl.evaluation.benchmarks.hallusionbench import HALLUSIONBENCH
from mmr1_trl.evaluation.benchmarks.logicvista import LOGICVISTA
from mmr1_trl.evaluation.benchmarks.mathverse import MATHVERSE
from mmr1_trl.evaluation.benchmarks.mathvision import MATHVISION
from mmr1_trl.evaluation.benchmarks.mathvista import MATHVISTA
from mmr1_trl.evaluation.benchmarks.mmk12 import MMK12
from mmr1_trl.evaluation.benchmarks.pets37 import PETS37
from mmr1_trl.evaluation.benchmarks.r1_onevision import R1_ONEVISION
from mmr1_trl.evaluation.benchmarks.screenspot import SCREENSPOT


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        MATHVISTA,
        MATHVERSE,
        MATHVISION,
        LOGICVISTA,
        CHARTQA,
        MMK12,
        R1_ONEVISION,
        HALLUSIONBENCH,
        SCREENSPOT,
        PETS37,
    )
}

__all__ = ["BENCHMARKS", "Benchmark", "get_benchmark", "load_benchmark", "prepare_benchmark"]


def get_benchmark(name: str) -> Benchmark:
    """Return the benchmark called `name`; an unknown name is a [`BadInputError`]."""
    if name not in BENCHMARKS:
        known = [*BENCHMARKS, "figures"]  # the last one is drawn, see `mmr1 eval`
        raise BadInputError(f"Unknown benchmark {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    return BENCHMARKS[name]
