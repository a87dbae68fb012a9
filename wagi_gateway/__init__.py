"""wagi-gateway: CGI for WebAssembly, one fresh sandbox per request."""

from importlib.metadata import version

__version__ = version("wagi-gateway")
