"""The command `node`: a node of a Kubernetes cluster, whose Pods are WAGI modules."""
