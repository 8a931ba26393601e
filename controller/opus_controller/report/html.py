"""report.html: one file that needs nothing else, for whoever was not there when the run ran."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from opus_controller.report import holders, plots, reasons, words
from opus_controller.report import map as role_map
from opus_controller.report.explain import Explained, of_app
from opus_controller.report.palette import PAGE, Palette, to_page
from opus_controller.report.result import Result
from opus_controller.report.run import Run
from opus_controller.report.table import worst_faults, worst_first

MOST_FAULTS, MOST_SITES = 30, 60
"""Rows of their tables, the worst ones; what is left out is counted."""
MOST_DECISIONS = 12
"""Of one application, the latest; what is left out is counted."""


def render(run: Run, result: Result) -> str:
    """The page as a string. Deterministic; every text of the run is escaped; nothing is fetched when it is opened."""
    environment = Environment(
        loader=PackageLoader("opus_controller.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        run=run,
        r=result,
        words=words,
        plots=_plots(run, result),
        map=role_map.draw(run),
        trees=role_map.trees(run),
        colours=PAGE,
        sites=worst_first(site for site in result.by_site if site.clients or site.requests.issued),
        most_sites=MOST_SITES,
        faults=worst_faults(result.faults, MOST_FAULTS),
        most_dots=plots.MOST_DOTS,
        explained=_explained(run),
        reasons=reasons,
        most_decisions=MOST_DECISIONS,
    )


def _explained(run: Run) -> list[Explained]:
    """Applications of which somebody decided who serves them."""
    names = {host.address: host.name for host in run.plan.hosts}
    found = [of_app(app, run.decided, lambda node: names.get(node, node)) for app in run.plan.apps]
    return [one for one in found if one.decisions]


def _plots(run: Run, result: Result) -> dict[str, Markup]:
    """Name to <svg>; plots of what the run has no data for are missing."""
    wanted: dict[str, Callable[[Palette], Figure]] = {"roles": partial(plots.roles, run)}
    if run.judged.requests.size:
        wanted["overview"] = partial(plots.overview, run)
        wanted["sites"] = partial(plots.sites, result)
    if run.judged.requests.ok.any():
        wanted["cdf"] = partial(plots.latency_cdf, run)
    if result.utility is not None:
        wanted["worth"] = partial(plots.worth, run, result.utility)
    if holders.bars(run):
        wanted["holders"] = partial(holders.figure, run)
    if run.steady_samples:
        wanted["burden"] = partial(plots.burden, run)
    if any(h.cpu_busy or h.link_lag_p99_ns or h.node_lag_p99_ns for h in run.health):  # virtual time is never late
        wanted["health"] = partial(plots.health, run)
    with mpl.rc_context(plots.style(PAGE)):
        # The pictures' text is escaped by matplotlib's own XML writer.
        return {name: Markup(to_page(plots.svg(make(PAGE), name))) for name, make in wanted.items()}
