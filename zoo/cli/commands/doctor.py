"""``zoo doctor``: checks the installation."""

from __future__ import annotations

import dataclasses
from collections import Counter

import click

from zoo.cli.commands.options import json_option, quiet_option
from zoo.cli.doctor import run_checks
from zoo.cli.groups import list_command_problems
from zoo.display import console
from zoo.display.formatting import pluralize


@click.command(name="doctor")
@quiet_option
@json_option
@click.pass_context
def command(ctx: click.Context, quiet: bool, as_json: bool) -> None:
    """Check the installation and suggest how to fix each problem.

    The checks use what they test: torch and the GPU multiply matrices, ONNX Runtime runs a model, download servers
    are contacted. The exit code is 1 if there is a problem. With --quiet, only warnings and problems are printed.
    """
    counts: Counter[str] = Counter()
    findings = []
    for check, finding in run_checks(problems=list_command_problems(ctx)):
        counts[finding.status] += 1
        findings.append({"check": check, **dataclasses.asdict(finding)})
        if not as_json and not (quiet and finding.status == "ok"):
            console.write_finding(finding.status, finding.about, finding.text, finding.advice)
    if as_json:
        console.write_json(findings)
    elif not quiet:
        warnings, problems = pluralize(counts["warning"], "warning"), pluralize(counts["problem"], "problem")
        console.echo(f"\n{counts['ok']} ok, {warnings}, {problems}")
    ctx.exit(1 if counts["problem"] else 0)
