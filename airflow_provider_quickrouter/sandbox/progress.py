"""The logs of a prediction: the seed, then progress bars as the ``tqdm`` of real models draws them.

Each bar begins with a carriage return, as on a terminal, so the last one is the present one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

BAR_WIDTH = 10
MAX_BARS = 50
"""At most about so many bars: ``tqdm`` draws by time, not one for each of 500 steps."""

EIGHTHS = " ▏▎▍▌▋▊▉"


def logs_of(seed: int, steps: int, seconds: float, fraction: float) -> str:
    """Return the logs when ``fraction`` (0 to 1) of ``steps`` that take ``seconds`` is done."""
    return f"Using seed: {seed}\n{_bars(steps, seconds, int(steps * fraction))}"


def steps_of(given: dict[str, Any]) -> int:
    """Return the number of steps that an input asks for, 1 to 1000; 50 when it asks for none."""
    steps = given.get("num_inference_steps", given.get("steps", 50))
    return min(max(steps, 1), 1000) if isinstance(steps, int) else 50


def bar(done: int, steps: int, seconds: float) -> str:
    """Draw one bar, such as ``50%|█████     | 25/50 [00:04<00:04,  5.05it/s]``."""
    if done == 0:
        return f"  0%|{' ' * BAR_WIDTH}| 0/{steps} [00:00<?, ?it/s]"
    part, rate = done / steps, steps / max(seconds, 0.001)
    times = f"{_clock(done / rate)}<{_clock((steps - done) / rate)}"
    return f"{part:4.0%}|{_blocks(part)}| {done}/{steps} [{times}, {rate:5.2f}it/s]"


@lru_cache(maxsize=1024)
def _bars(steps: int, seconds: float, done: int) -> str:
    stride = max(1, steps // MAX_BARS)
    shown = [*range(0, done, stride), done]
    return "".join(f"\r{bar(step, steps, seconds)}" for step in shown)


def _blocks(fraction: float) -> str:
    full, eighth = divmod(int(fraction * BAR_WIDTH * 8), 8)
    partial = EIGHTHS[eighth] if full < BAR_WIDTH else ""
    return f"{'█' * full}{partial}".ljust(BAR_WIDTH)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
