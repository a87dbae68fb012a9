"""The pause after a failed pull, which the status shows as ErrImagePull and then as ImagePullBackOff."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..api import Object
from .runtime import RecordsEvents
from .state import PodState, Waiting


async def back_off_pull(
    pod: Object,
    state: PodState,
    events: RecordsEvents,
    *,
    delay: float,
    changed: Callable[[], None],
    pause: Callable[[float], Awaitable[None]],
) -> None:
    """Waits `delay` seconds and a fifth more by `pause`; `changed` is called when the state has changed."""
    await pause(delay / 5)  # ErrImagePull is shown before ImagePullBackOff
    images = {one["name"]: one["image"] for one in pod["spec"]["containers"]}
    for name, waiting in state.waiting_images.items():
        text = f'Back-off pulling image "{images.get(name, "")}"'
        events.record(pod, "BackOff", text)
        if waiting.reason == "ErrImagePull":
            state.waiting_images[name] = Waiting("ImagePullBackOff", f"{text}: {waiting.message}"[:1000])
    changed()
    await pause(delay)
