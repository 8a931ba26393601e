"""`opus doctor`: what this machine can do, and what mends the rest."""

from __future__ import annotations

import typer

from opus_controller.cli._output import JsonOption, print_json, print_table


def register(app: typer.Typer) -> None:
    @app.command()
    def doctor(as_json: JsonOption = False) -> None:
        """Check what this machine can do; each shortcoming with the command that mends it. Exit code 3: no real hosts here."""
        from opus_controller.cli._checks import examine, real_hosts

        findings = examine()
        able = real_hosts(findings)
        if as_json:
            print_json({"real_hosts": able, "checks": [vars(finding) for finding in findings]})
        else:
            print_table(("check", "verdict", "found", "needed for"), [(f.name, f.verdict, f.found, f.need) for f in findings])
            mends = [(f.name, f.mend) for f in findings if f.mend]
            if mends:
                print()
                print_table(("to mend", "run"), mends)
            print()
            print(
                "real hosts: opus run SCENARIO --runtime netns" if able else "no real hosts here: opus run SCENARIO --runtime sim"
            )
        raise typer.Exit(0 if able else 3)
