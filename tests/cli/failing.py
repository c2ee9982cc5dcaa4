"""Appended to the toy plugin: parts of a run that fail where ``TOY_FAILS`` says "PART HOW", or "PART HOW ARM".

HOW is "raises", "exits", or "nonsense", a result that cannot be used. Each call of a part is a line in ``TOY_CALLS``.
"""
# ruff: noqa: F821
# mypy: ignore-errors


def called(part, nonsense=None):
    """Note the call of a part; fail, or return what it is to answer with instead, where it is told to."""
    with Path(os.environ["TOY_CALLS"]).open("a") as file:
        file.write(f"{part}\n")
    failing, how, arm = [*os.environ.get("TOY_FAILS", "").split(), "", "", ""][:3]
    if failing != part.partition(" ")[0] or arm not in part:
        return None
    if how == "raises":
        raise RuntimeError("no\nsuch luck")
    if how == "exits":
        raise SystemExit(0)
    return nonsense


@final
@frozen
class Fragile(Metric):
    """Mean of all numbers."""

    name = "fragile"
    better, aspect = "lower", "fidelity"

    @property
    def formula(self):
        if not Path("run/metrics.json").is_file():  # read before any work, to refuse a wrong one
            return "mean"
        return called("words", object()) or "mean"

    def applies(self, task):
        return task.name == "toy"

    def measure(self, arm, context):
        return called(f"metric {arm.name}", "nonsense") or float(arm.samples.mean())

    def resampler(self, arm, context):
        values = arm.samples.mean(1).double()
        plain = lambda weights: weights @ values / weights.sum(1)  # noqa: E731
        late = lambda weights: called("resampled", "nonsense") or plain(weights)  # noqa: E731
        return called("interval", 3) or late


@hook
def guideplug_metrics():
    return [Fragile]


def figure(self, arms, path):
    assert Path("run/metrics.json").is_file() or not Path("run/config.toml").exists()
    if called("figure", "nothing") is None:
        path.write_bytes(PNG)


def animate(self, arms, sampler, seed, path):
    if called("animation", "nothing") is None:
        path.write_bytes(b"GIF89a")
    return True


def steps(self, denoiser, x, condition=None, streams=None):
    wrong = None
    if len(x) == 32:  # the run's own samples, and after them those of the slider
        wrong = called("slider" if Path("run/samples.npz").is_file() else "sample", "nonsense")
    yield from (["nonsense"] if wrong else steps_of_toy(self, denoiser, x, condition, streams))


steps_of_toy = Steps.steps
Toy.figure, Toy.animate, Steps.steps = figure, animate, steps
report_of_toy = ToyWidths.report


def report(self, found):
    return called("report", "nonsense") or report_of_toy(self, found)


ToyWidths.report = report
