"""Compilation: the bytes of a module become a precompiled artefact on disk and a warm module in memory."""
