"""llama.cpp, through the low-level bindings of llama-cpp-python; nothing outside this folder imports `llama_cpp`.

The version is pinned because the C signatures change between releases; `library.check_version` refuses any other.
"""

import os

# GNU OpenMP reads this when it is loaded, with llama.cpp. Its threads meet at a barrier hundreds of times a token, and by
# default spin there for milliseconds: whenever anything else wants the core, be it our own API process, the others burn
# theirs waiting. Measured on two busy cores: 18 tokens/s, and 106 when they go to sleep sooner; on idle ones it costs
# nothing (docs/benchmarks.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
