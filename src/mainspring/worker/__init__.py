"""The worker: small services around one store. One role per file; `worker.py` puts them together."""
