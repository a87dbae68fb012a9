"""CGI/1.1 (RFC 3875) as pure functions: a request becomes an environment, a guest's output becomes a response head."""
