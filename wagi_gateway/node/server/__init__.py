"""The HTTPS API of the node: what kubectl logs and exec, Prometheus and metrics-server ask a kubelet."""
