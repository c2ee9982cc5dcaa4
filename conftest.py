"""One thread a test process, unless the environment says otherwise; and Ctrl-C as a terminal has it.

Tests run side by side on small tensors. A shell that puts them into the background makes them deaf to SIGINT, which the
processes that they start would inherit.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
