"""Outbound HTTP calls of guests: the policy, the connections, the bounds. Independent of WebAssembly."""
