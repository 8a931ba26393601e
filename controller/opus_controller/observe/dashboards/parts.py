"""What the dashboards are made of: panels in one style, variables, annotations.

`$run` is the run looked at. `$window` is the span for rates, which the run itself tells: four of its scrapes, so that every
panel has data however large the run and however seldom its hosts are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as query_models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
RUN = 'run="$run"'
COLUMNS = 24
HEIGHT = 8

GREEN, YELLOW, RED, BLUE, GREY = "green", "#EAB839", "red", "blue", "#808080"


@dataclass(frozen=True)
class Query:
    """One line of a panel, or several that differ in labels."""

    expr: str
    legend: str = ""
    """With label names as {{name}}; empty: all labels."""


@dataclass(frozen=True)
class Limits:
    """Colours by value: green below `low`, yellow up to `high`, red above; the other way round if `high_is_good`."""

    low: float
    high: float
    high_is_good: bool = False

    def build(self) -> Builder[models.ThresholdsConfig]:
        first, last = (RED, GREEN) if self.high_is_good else (GREEN, RED)
        steps = [models.Threshold(value=None, color=first)]
        if self.low < self.high:
            steps.append(models.Threshold(value=self.low, color=YELLOW))
        steps.append(models.Threshold(value=self.high, color=last))
        return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    stacked: bool = False,
    low: float | None = 0,
    high: float | None = None,
    limit: float | None = None,
) -> timeseries.Panel:
    """Values over time. `limit`: a dashed line in red."""
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE).span(width).height(HEIGHT)
    legend = common.VizLegendOptions().show_legend(True).placement(common_models.LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(common_models.LegendDisplayMode.LIST))
    panel.tooltip(
        common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING)
    )
    panel.line_width(1).fill_opacity(30 if stacked else 0).show_points(common_models.VisibilityMode.NEVER)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    if limit is not None:
        steps = [models.Threshold(value=None, color="transparent"), models.Threshold(value=limit, color=RED)]
        panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    for number, query in enumerate(queries):
        panel.with_target(_target(query, number).range())
    return panel


def number(title: str, description: str, unit: str, *queries: Query, width: int = 4, limits: Limits | None = None) -> stat.Panel:
    """The latest value, large."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE).span(width).height(4)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).graph_mode(common_models.BigValueGraphMode.NONE)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    neutral = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps([models.Threshold(value=None, color=BLUE)])
    panel.thresholds(limits.build() if limits is not None else neutral)
    for i, query in enumerate(queries):
        panel.with_target(_target(query, i).instant())
    return panel


def states(
    title: str,
    description: str,
    *queries: Query,
    off: tuple[str, str],
    on: tuple[str, str],
    width: int = COLUMNS,
    height: int = HEIGHT,
) -> statetimeline.Panel:
    """Rows of 0 and 1 over time, each told as (text, colour)."""
    panel = statetimeline.Panel().title(title).description(description).datasource(SOURCE).span(width).height(height)
    options = {
        value: models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate({"0": off, "1": on}.items())
    }
    panel.mappings([models.ValueMap(options=options)]).show_value(common_models.VisibilityMode.NEVER).fill_opacity(70)
    panel.merge_values(True).row_height(0.8)
    for i, query in enumerate(queries):
        panel.with_target(_target(query, i).range())
    return panel


def heat(title: str, description: str, unit: str, query: Query, width: int = 12) -> heatmap.Panel:
    """A histogram's buckets over time."""
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE).span(width).height(HEIGHT)
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(unit))
    colours = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Blues").steps(64).exponent(0.5)
    panel.color(colours)
    return panel.with_target(_target(query, 0).range().format(query_models.PromQueryFormat.HEATMAP))


def rows(title: str, description: str, *queries: Query, unit: str = "none", width: int = 12, counted: str = "") -> table.Panel:
    """A table of what is now: a row for each set of labels, a column for each label and query; of one query the value is left
    out, unless `counted` names it."""
    panel = table.Panel().title(title).description(description).unit(unit).datasource(SOURCE).span(width).height(HEIGHT)
    for i, query in enumerate(queries):
        panel.with_target(_target(query, i).instant().format(query_models.PromQueryFormat.TABLE))
    if len(queries) > 1:
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    renamed = {f"Value #{_letter(i)}": query.legend for i, query in enumerate(queries)} if len(queries) > 1 else {}
    if counted:
        renamed["Value"] = counted
    options: dict[str, object] = {"excludeByName": {"Time": True, **({"Value": True} if not renamed else {})}}
    panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options={**options, "renameByName": renamed, "indexByName": {}})
    )
    return panel


@dataclass
class FaultsAndRoles(Builder[models.AnnotationQuery]):
    """An annotation made from a metric whose value is a Unix time: it stands at that very instant.

    The library knows of `expr` only; the rest is what Grafana's Prometheus data source reads.
    """

    name: str
    expr: str
    title: str
    text: str
    colour: str

    def build(self) -> models.AnnotationQuery:
        return _PrometheusAnnotation(self)


class _PrometheusAnnotation(models.AnnotationQuery):
    def __init__(self, of: FaultsAndRoles) -> None:
        super().__init__(name=of.name, datasource=SOURCE, enable=True, icon_color=of.colour, expr=of.expr)
        self._formats = {"titleFormat": of.title, "textFormat": of.text, "useValueForTime": "on", "step": "1s"}

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), **self._formats}


def faults() -> FaultsAndRoles:
    """Every event of the timeline."""
    return FaultsAndRoles("Faults", f"opus_fault_timestamp_seconds{{{RUN}}} * 1000", "{{fault}} {{name}}", "{{target}}", RED)


def role_changes(selector: str = "") -> FaultsAndRoles:
    """Hosts that took a role or gave one up."""
    chosen = f"{RUN}, {selector}" if selector else RUN
    return FaultsAndRoles(
        "Roles", f"opus_role_changed_timestamp_seconds{{{chosen}}} * 1000", "{{host}}", "{{role}} {{app}} taken or given up", BLUE
    )


def board(
    uid: str,
    title: str,
    description: str,
    panels: Sequence[Builder[models.Panel] | dashboard.Row],
    annotations: Sequence[FaultsAndRoles],
    variables: Sequence[Builder[models.VariableModel]] = (),
) -> dashboard.Dashboard:
    """A dashboard with what all have: the data source, the run, its window, links to the others."""
    made = dashboard.Dashboard(f"Opus: {title}").uid(uid).description(description).tags(["opus"]).readonly()
    made.timezone("browser").time("now-15m", "now").refresh("5s").tooltip(models.DashboardCursorSync.CROSSHAIR)
    link = dashboard.DashboardLink("Opus").type(models.DashboardLinkType.DASHBOARDS).tags(["opus"])
    made.link(link.as_dropdown(False).include_vars(True).keep_time(True))
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(label_variable("run", "Run", "opus_run_info", "run", newest_first=True))
    window = label_variable("window", "Window", f"opus_run_info{{{RUN}}}", "window")
    made.with_variable(window.hide(models.VariableHide.HIDE_VARIABLE))
    for variable in variables:
        made.with_variable(variable)
    for annotation in annotations:
        made.annotation(annotation)
    for identity, panel in enumerate(panels, start=1):
        if isinstance(panel, dashboard.Row):
            made.with_row(panel.id(identity))
        else:
            made.with_panel(_with_id(panel, identity))
    return made


def label_variable(name: str, label: str, metric: str, of: str, *, newest_first: bool = False) -> dashboard.QueryVariable:
    """The values of the label `of` at the metric."""
    query: dict[str, object] = {"query": f"label_values({metric}, {of})", "refId": f"{name}-values"}
    variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    order = models.VariableSort.ALPHABETICAL_DESC if newest_first else models.VariableSort.NATURAL_ASC
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(order)


def section(title: str) -> dashboard.Row:
    return dashboard.Row(title)


def _with_id(panel: Builder[models.Panel], identity: int) -> Builder[models.Panel]:
    built = panel.build()
    built.id_val = identity
    return panel


def _target(query: Query, number: int) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(_letter(number)).datasource(SOURCE)
    made.editor_mode(query_models.QueryEditorMode.CODE)
    return made.legend_format(query.legend or "__auto")


def _letter(number: int) -> str:
    return chr(ord("A") + number)
