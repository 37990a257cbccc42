"""What nbval does not know: a kernel that has died, and outputs that a later cell updates.

A cell whose kernel has died fails within seconds, and not after the time that a cell may take. An update of an output
(the notebook's first screen) is kept as an output of the cell that made it; conftest puts it in its place.

To be imported (``import kernel_watch``) by conftest.py, or loaded with ``pytest -p kernel_watch``.
"""

import time
from queue import Empty

from nbval.kernel import RunningKernel

LOOK_EVERY = 5.0  # seconds
await_reply = RunningKernel.await_reply


def await_reply_of_the_living(self, msg_id, timeout=None):
    """Wait as nbval does, and look now and then whether the kernel is still there."""
    end = time.monotonic() + (float("inf") if timeout is None else timeout)
    while True:
        try:
            return await_reply(self, msg_id, timeout=max(0.0, min(LOOK_EVERY, end - time.monotonic())))
        except Empty:
            if not self.is_alive():
                raise RuntimeError("Kernel đã chết khi chạy ô này: bị dừng từ ngoài, hoặc hết bộ nhớ.") from None
            if time.monotonic() >= end:
                raise


RunningKernel.await_reply = await_reply_of_the_living


get_message = RunningKernel.get_message


def message_with_updates(self, *args, **options):
    """The next message; an update of what is shown, but for lines of progress, as an output of its own."""
    message = get_message(self, *args, **options)
    about = message["content"].get("metadata", {}) if message["msg_type"] == "update_display_data" else {}
    if about.get("bth2", {}).get("kind", "progress") != "progress":
        message["msg_type"] = "display_data"
    return message


RunningKernel.get_message = message_with_updates
