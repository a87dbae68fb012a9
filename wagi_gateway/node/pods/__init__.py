"""Pods: from an object of the API to a gateway that serves, and to the status that the API shows."""
