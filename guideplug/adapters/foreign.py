"""Advice for invalid noise schedules: a scheduler, a table, a class, a name."""

from collections.abc import Sequence

from guideplug.adapters.schedule import NoiseSchedule

__all__ = ["instead_of"]

TABLE = "DiscreteSchedule(scheduler.alphas_cumprod)"
FLOW = "FlowSchedule(time_scale=1000)"
NAMES = {
    "VESchedule()": ("ve", "edm", "karras"),
    "VPSchedule()": ("vp",),
    "CosineSchedule()": ("cosine", "squaredcos_cap_v2"),
    TABLE: ("linear", "scaled_linear", "ddpm", "ddim", "discrete"),
    "FlowSchedule()": ("flow", "flow_matching", "rectified_flow"),
}
"""Common names of the schedules."""
ANY = f"one of {', '.join(NAMES)}"


def instead_of(schedule: object) -> str:
    """``is a DDPMScheduler: write DiscreteSchedule(scheduler.alphas_cumprod)``, of anything but a `NoiseSchedule`."""
    if isinstance(schedule, str):
        return f"is {schedule!r}: write {_named(schedule)}"
    cls = schedule if isinstance(schedule, type) else type(schedule)
    return f"is {'the class' if isinstance(schedule, type) else 'a'} {cls.__name__}: write {_of(schedule, cls)}"


def _of(schedule: object, cls: type) -> str:
    if issubclass(cls, NoiseSchedule):
        return TABLE if cls.__name__ == "DiscreteSchedule" else f"{cls.__name__}()"
    if hasattr(schedule, "alphas_cumprod"):
        return TABLE
    if "Flow" in cls.__name__:
        return FLOW
    if "Scheduler" in cls.__name__ and isinstance(schedule, type):
        return TABLE
    if schedule is not cls and (isinstance(schedule, Sequence) or hasattr(schedule, "__array__")):
        return "DiscreteSchedule(table)"
    return ANY


def _named(word: str) -> str:
    plain = word.lower().replace("-", "_").removesuffix("_schedule").removesuffix("schedule")
    return next((written for written, names in NAMES.items() if plain in names), ANY)
