"""``zoo doctor``: checks the set-up and says what to do about each finding."""

from __future__ import annotations

import dataclasses
from collections import Counter

import click

from zoo.cli.commands.options import json_option
from zoo.cli.doctor import examine
from zoo.cli.terminal import console
from zoo.cli.terminal.formatting import pluralize


@click.command(name="doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the set-up, and say what to do about each finding.

    Everything is really tried: torch and the GPU multiply, ONNX Runtime runs a model, servers are asked. The exit code
    is 1 if there is a problem.
    """
    counts: Counter[str] = Counter()
    told = []
    for check, finding in examine():
        counts[finding.status] += 1
        told.append({"check": check, **dataclasses.asdict(finding)})
        if not as_json:
            console.write_finding(finding.status, finding.about, finding.text, finding.advice)
    if as_json:
        console.write_json(told)
    else:
        click.echo(
            f"\n{counts['ok']} ok, {pluralize(counts['warning'], 'warning')}, {pluralize(counts['problem'], 'problem')}"
        )
    ctx.exit(1 if counts["problem"] else 0)
