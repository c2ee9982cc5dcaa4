"""One thread a test process, unless the environment says otherwise: tests run side by side on small tensors."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
