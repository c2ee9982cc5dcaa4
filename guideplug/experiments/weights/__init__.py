"""One network's guidance at many weights, from the same noise: drawn, measured, and written as tables and figures."""

from guideplug.experiments.weights.result import MeasuredArm, WeightSweep
from guideplug.experiments.weights.run_sweep import PARTS, run_sweep
from guideplug.experiments.weights.sweep_plan import SweepPlan, plan_sweep

__all__ = ["PARTS", "MeasuredArm", "SweepPlan", "WeightSweep", "plan_sweep", "run_sweep"]
