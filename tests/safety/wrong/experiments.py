"""Executors and studies that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

from typing import Any

from attrs import define, evolve, field, frozen

from guideplug import Executor, Job, JobResult, Pool, Report, Serial, Study, Table, Trial, WorkerSource, hook


@define(eq=False)
class Changing(Pool):
    """The serial pool with other results: ``change(results, waiting)``."""

    pool: Pool
    change: Any
    most: int = 1
    seen: list[JobResult] = field(factory=list)

    @property
    def capacity(self) -> int:
        return self.most

    def submit(self, job: Job) -> None:
        self.pool.submit(job)

    def wait(self, seconds: float) -> Any:
        results = list(self.pool.wait(seconds))
        self.seen += results
        return self.change(results, self.seen)

    def cancel(self) -> None:
        self.pool.cancel()

    def shutdown(self) -> None:
        self.pool.shutdown()


def pooling(name: str, doc: str, change: Any, most: Any = 1) -> type[Executor]:
    """An executor whose pool's results are ``change(results, seen)``."""

    def opens(self, source: WorkerSource) -> Pool:
        return Changing(Serial().open(source), change, most)

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "open": opens}
    return frozen(type(name.title().replace("-", ""), (Executor,), methods))


def opening(name: str, doc: str, opens: Any) -> type[Executor]:
    """An executor that opens ``opens(source)``."""
    methods = {"__module__": __name__, "name": name, "__doc__": doc, "open": lambda self, source: opens(source)}
    return frozen(type(name.title().replace("-", ""), (Executor,), methods))


def other_job(results: list[JobResult], seen: list[JobResult]) -> list[JobResult]:
    return [evolve(result, job=evolve(result.job, key="another")) for result in results]


def swapped(results: list[JobResult], seen: list[JobResult]) -> list[JobResult]:
    return [evolve(result, job=seen[0].job) for result in results]


def raises(*arguments: Any) -> Any:
    raise LookupError("no\nmachine")


def exits(*arguments: Any) -> Any:
    raise SystemExit(0)


EXECUTORS: list[tuple[type[Any], str]] = [
    (pooling("answers-twice", "Each result twice.", lambda results, seen: results * 2), "twice"),
    (pooling("answers-again", "All results again.", lambda results, seen: list(seen)), "twice"),
    (pooling("other-job", "Results of a job that is none.", other_job), "another"),
    (pooling("first-job", "Results of the first job.", swapped), "twice"),
    (pooling("no-list", "None for the results.", lambda results, seen: None), "None"),
    (pooling("bare-values", "Values for the results.", lambda results, seen: [one.value for one in results]),
     "JobResult"),
    (pooling("object-values", "Objects as values.",
             lambda results, seen: [evolve(one, value=object()) for one in results]), "object"),
    (pooling("none-values", "None as every value.",
             lambda results, seen: [evolve(one, value=None) for one in results]), "None"),
    (pooling("text-errors", "Texts as errors.",
             lambda results, seen: [evolve(one, error="no") for one in results]), "error"),
    (pooling("no-capacity", "No job at a time.", lambda results, seen: results, 0), "capacity"),
    (pooling("text-capacity", "A text as capacity.", lambda results, seen: results, "many"), "capacity"),
    (pooling("wait-raises", "Raises.", raises), "LookupError"),
    (pooling("wait-exits", "Exits.", exits), "SystemExit"),
    (opening("opens-none", "Opens None.", lambda source: None), "Pool"),
    (opening("open-raises", "Raises.", raises), "LookupError"),
    (opening("open-exits", "Exits.", exits), "SystemExit"),
]  # fmt: skip


def planning(name: str, doc: str, trials: Any, report: Any = None) -> type[Study]:
    """A study of ``trials()`` and ``report(findings)``."""

    def right(found: Any) -> Report:
        return Report({"metrics": Table(["width"], [[row.axes["width"]] for row in found.rows])}, ["done"])

    methods = {
        "__module__": __name__, "name": name, "__doc__": doc,
        "trials": lambda self: trials(), "report": lambda self, found: (report or right)(found),
    }  # fmt: skip
    return frozen(type(name.title().replace("-", ""), (Study,), methods))


RUN = {"task": "toy", "denoiser": "toy-net(width=4)", "samples": 8}


def trial(**axes: Any) -> Trial:
    return Trial(axes or {"width": 4}, RUN)


STUDIES: list[tuple[type[Any], str]] = [
    (planning("no-trials", "No trial.", list), "trial"),
    (planning("none-trials", "None as trials.", lambda: None), "None"),
    (planning("text-trials", "Texts as trials.", lambda: ["toy"]), "Trial"),
    (planning("same-place", "Two trials at one place.", lambda: [trial(), trial()]), "two trials"),
    (planning("other-axes", "Trials of other axes.", lambda: [trial(), trial(height=1)]), "axes"),
    (planning("list-axis", "A list on an axis.", lambda: [trial(width=[4])]), "axes"),
    (planning("object-axis", "An object on an axis.", lambda: [trial(width=object())]), "axes"),
    (planning("nan-axis", "No number on an axis.", lambda: [trial(width=float("nan"))]), "axes"),
    (planning("unknown-key", "An unknown key.", lambda: [Trial({"width": 4}, {**RUN, "colour": "red"})]), "colour"),
    (planning("object-run", "An object as its task.", lambda: [Trial({"width": 4}, {**RUN, "task": object()})]),
     "task"),
    (planning("text-run", "A text as its run.", lambda: [Trial({"width": 4}, "toy")]), "run"),
    (planning("trials-raise", "Raises.", raises), "LookupError"),
    (planning("trials-exit", "Exits.", exits), "SystemExit"),
    (planning("none-report", "None as its report.", lambda: [trial()], lambda found: None), "Report"),
    (planning("text-table", "A text as a table.", lambda: [trial()], lambda found: Report({"t": "text"})), "Table"),
    (planning("number-sentence", "A number as a sentence.", lambda: [trial()],
              lambda found: Report({"t": Table(["a"], [[1]])}, [3])), "sentence"),
    (planning("report-raises", "Raises.", lambda: [trial()], raises), "LookupError"),
    (planning("report-exits", "Exits.", lambda: [trial()], exits), "SystemExit"),
    (planning("no-figure", "Draws no figure.", lambda: [trial()],
              lambda found: Report({"t": Table(["a"], [[1]])}, ["x"], {"f": lambda path: None})), "figure"),
    (planning("path-table", "A table named as a path.", lambda: [trial()],
              lambda found: Report({"../../t": Table(["a"], [[1]])}, ["x"])), "name"),
]  # fmt: skip


@hook
def guideplug_executors() -> list[type[Executor]]:
    return [cls for cls, _ in EXECUTORS]


@hook
def guideplug_studies() -> list[type[Study]]:
    return [cls for cls, _ in STUDIES]
