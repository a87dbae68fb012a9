"""Outbound HTTP: the policy, the requests and the responses of guests' calls."""
