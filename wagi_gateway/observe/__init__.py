"""What operators see: the log, its access lines and the guests' standard error."""
