"""The process that serves: uvicorn, listeners, workers, signals, and the admin listener."""
