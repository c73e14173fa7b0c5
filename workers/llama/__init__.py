"""llama.cpp, through the low-level bindings of llama-cpp-python; nothing outside this folder imports `llama_cpp`.

The version is pinned because the C signatures change between releases; `library.check_version` refuses any other.
"""
