"""A cell of nbval whose kernel has died fails within seconds, and not after the time that a cell may take.

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
