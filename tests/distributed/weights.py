"""What Airflow's components weigh: the memory that they have, and the processor time they took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psutil

from dev.airflow_processes import Component
from dev.airflow_services import kind_of

MEGABYTE = 2**20


@dataclass(frozen=True)
class Weight:
    """Bytes, of which shared ones are counted in parts, and seconds of a core."""

    memory: float = 0.0
    seconds: float = 0.0


@dataclass
class Weights:
    """The heaviest of each start of a component that :meth:`look` has seen."""

    seen: dict[tuple[str, float], Weight] = field(default_factory=dict)

    def look(self, components: Mapping[str, Component]) -> None:
        """Weigh all components now."""
        for name, component in components.items():
            self.add(name, component.started, weight_of(component.family()))

    def add(self, name: str, started: float, now: Weight) -> None:
        """Keep what a component weighs now if it is more than before, since the same start."""
        before = self.seen.get((name, started), Weight())
        heaviest = Weight(max(before.memory, now.memory), max(before.seconds, now.seconds))
        self.seen[name, started] = heaviest

    def lines(self) -> list[str]:
        """Return a line for each kind: the most memory that one had, the seconds of all."""
        found = []
        for kind in dict.fromkeys(kind_of(name) for name, _ in self.seen):
            weights = [weight for (name, _), weight in self.seen.items() if kind_of(name) == kind]
            memory = max(weight.memory for weight in weights) / MEGABYTE
            seconds = sum(weight.seconds for weight in weights)
            found.append(f"{kind}: {memory:.0f} MB at the most, {seconds:.0f} s of a core in all")
        return found


def weight_of(processes: Iterable[psutil.Process]) -> Weight:
    """Return what living processes weigh together, with the seconds of children that have ended."""
    memory = seconds = 0.0
    for process in processes:
        try:
            memory += process.memory_full_info().pss
            seconds += sum(process.cpu_times()[:4])
        except psutil.Error:
            continue
    return Weight(memory, seconds)
