"""`make bench`: this engine beside llama-server and llama_cpp.server, on the same machine, models, threads and client."""
