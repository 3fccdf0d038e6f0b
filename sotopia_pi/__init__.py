"""The Sotopia-π workbench."""

import logging

# On a CPU with AVX512-BF16, importing bitsandbytes warns of a faster kernel that is not installed; nothing is amiss.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
