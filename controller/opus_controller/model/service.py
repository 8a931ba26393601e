"""Services of a scenario to those of the plan: their ports agreed, their files named by content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from opus_controller.model.bundle import Bundle, pack
from opus_controller.model.document import KeyPath, Problems
from opus_controller.model.errors import ScenarioError
from opus_controller.model.plan import Files, Plan, Service
from opus_controller.model.scenario_form import ScenarioForm
from opus_controller.model.service_form import ServiceForm
from opus_controller.model.units import shown

FIRST_GATEWAY: Final = 7080


class ServiceCompiler:
    def __init__(self, problems: Problems, form: ScenarioForm) -> None:
        self._problems = problems
        self._form = form
        self._ports: dict[int, str] = {}
        """Taken, and by what."""

    def compile(self) -> list[Service | None]:
        """One an application, None where the nodes answer."""
        apps = self._form.applications
        for k, app in enumerate(apps):
            if app.service is not None:
                keys: KeyPath = ("applications", k, "service")
                self._take(app.service.port, f"{app.name}'s program", (*keys, "port"))
                if app.service.gateway is not None:
                    self._take(app.service.gateway, f"{app.name}'s gateway", (*keys, "gateway"))
        services = [None if app.service is None else self._one(k, app.name, app.service) for k, app in enumerate(apps)]
        self._check_workload()
        return services

    def _take(self, port: int, what: str, keys: KeyPath) -> None:
        """A host may have to run any of the programs, and has all of the gateways."""
        if port in self._ports:
            self._problems.add(keys, f"port {port} is that of {self._ports[port]}; allowed: ports that differ")
        self._ports.setdefault(port, what)

    def _one(self, k: int, app: str, form: ServiceForm) -> Service:
        gateway = form.gateway
        if gateway is None:
            gateway = next(port for port in range(FIRST_GATEWAY, 65536) if port not in self._ports)
            self._ports[gateway] = f"{app}'s gateway"
        files = None
        if form.files is not None:
            try:
                bundle = pack(self._problems.document.path.parent / form.files)
                files = Files(path=form.files, digest=bundle.digest, size=bundle.size, files=bundle.files)
            except ValueError as error:
                self._problems.add(("applications", k, "service", "files"), str(error))
        return Service(
            command=form.command or (),
            image=form.image or "",
            port=form.port,
            protocol=form.protocol,
            health_path=form.health.path if form.protocol == "http" else "",
            health_every_ns=form.health.every,
            health_timeout_ns=form.health.timeout,
            health_failures=form.health.failures,
            start_ns=form.health.start,
            request=form.asked,
            gateway=gateway,
            deadline_ns=form.deadline,
            files=files,
            model_start_ns=form.model_start,
            model_answer_ns=form.model_answer,
        )

    def _check_workload(self) -> None:
        """What a program is asked is the service's to say, not the workload's."""
        services = {app.name: app.service for app in self._form.applications if app.service is not None}
        only = self._form.applications[0].name if len(self._form.applications) == 1 else None
        for k, load in enumerate(self._form.workload):
            service = services.get(load.app or only or "")
            if service is None:
                continue
            if load.write_share:
                self._problems.add(
                    ("workload", k, "write_share"),
                    "the clients of a service only read, all requests being alike; allowed: 0, or no write_share",
                )
            if not service.asked:
                name = load.app or only or ""
                where = next(i for i, app in enumerate(self._form.applications) if app.name == name)
                message = f'{shown(name)} has clients and protocol tcp; allowed: a request, such as request: "PING\\r\\n"'
                self._problems.add(("applications", where, "service"), message)


def bundles(plan: Plan, folder: Path) -> list[Bundle]:
    """The files of the plan's services, each once; `folder`: the scenario's. ScenarioError if they are not what they were."""
    found: dict[str, Bundle] = {}
    for app in plan.apps:
        files = app.service.files if app.service is not None else None
        if files is None:
            continue
        try:
            bundle = pack(folder / files.path)
        except ValueError as error:
            raise ScenarioError(f"{app.name}: {error}") from None
        if bundle.digest != files.digest:
            raise ScenarioError(f"{app.name}: {folder / files.path} has changed since the plan was made; start again")
        found[bundle.digest] = bundle
    return list(found.values())
