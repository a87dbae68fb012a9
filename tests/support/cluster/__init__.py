"""A Kubernetes control plane on loopback, kubectl and helm, and nodes that join it."""
