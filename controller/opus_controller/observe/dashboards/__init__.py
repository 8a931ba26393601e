"""The Grafana dashboards: built here with Grafana's own typed library, committed as the JSON files beside.

`python -m opus_controller.observe.dashboards` writes them, `--check` says whether they are current. Only this needs the
library (a development dependency); whoever uses Opus uses the files.
"""
