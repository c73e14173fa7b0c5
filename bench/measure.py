"""Rounds: every server once in each, a fresh process every time, their order turned round from one round to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import client
from bench.cells import Asker, Cell, ServerName, Sizes, warm_up
from bench.figures import Figures
from bench.models import ModelFile
from bench.places import say
from bench.servers import Running, Server, Setup, running

Servers = Mapping[ServerName, Server]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one model's rounds need to know. `raw` is the folder that every arrival time is kept in."""

    model: ModelFile
    setup: Setup
    sizes: Sizes
    cells: Sequence[Cell]
    rounds: int
    raw: Path

    def cells_of(self, server: ServerName) -> list[Cell]:
        return [cell for cell in self.cells if server in ("tropilla", *cell.peers)]


def order(names: Sequence[ServerName], number: int) -> list[ServerName]:
    """A B C, C B A, A B C, ..."""
    return list(names) if number % 2 == 0 else list(reversed(names))


def measure(plan: Plan, servers: Servers) -> list[dict[str, Any]]:
    """What each round saw, ready to be written down."""
    names = [name for name in servers if plan.cells_of(name)]
    plan.raw.mkdir(parents=True, exist_ok=True)
    return [_round(plan, servers, order(names, number), number) for number in range(plan.rounds)]


def _round(plan: Plan, servers: Servers, names: Sequence[ServerName], number: int) -> dict[str, Any]:
    seen: dict[str, Any] = {"order": list(names), "servers": {}}
    for name in names:
        with running(servers[name], plan.model, plan.setup) as up:
            seen["servers"][name] = {
                "command": list(up.command),
                "ready_after_seconds": up.ready_after_seconds,
                "cells": _visit(plan, name, up, number),
            }
    return seen


def _visit(plan: Plan, name: ServerName, up: Running, number: int) -> dict[str, Figures]:
    """All cells of one server in one round."""
    client.run(warm_up(_asker(plan, up, f"{number} warm-up")))
    taken: dict[str, Figures] = {}
    for cell in plan.cells_of(name):
        record = client.run(cell.plan(_asker(plan, up, f"{number} {cell.name}")))
        (plan.raw / f"{cell.name}-{name}-{number}.json").write_text(record.encode())
        taken[cell.name] = cell.read(record)
    shown = ", ".join(f"{cell.name} {taken[cell.name][cell.headline]:.1f}" for cell in plan.cells_of(name))
    say(f"{plan.model.name} round {number + 1}/{plan.rounds} {name}: {shown}")
    return taken


def _asker(plan: Plan, up: Running, seed: str) -> Asker:
    return Asker(plan.model, plan.sizes, port=up.port, seed=f"{plan.model.name} {seed}")


def keep(path: Path, result: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
